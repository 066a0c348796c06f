"""`fedstream model`: add models, look at them, and get published ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.errors import UsageError
from fedstream.output import err, metrics_text, out, print_json, print_table, write_file
from fedstream.run import NAME

model_app = typer.Typer(no_args_is_help=True, help="Add models, look at them, and get published ones.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model, such as `mine` or `builtin:digits-mlp`.", show_default=False)]


@model_app.command()
def add(
    source: Annotated[str, typer.Argument(help="A .keras file, or `package.module:function` that returns a compiled model.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name to add it under.", show_default=False)],
    features: Annotated[str, typer.Option(help="Names of its columns, in its order, separated by commas, or a .json list.", show_default=False)] = "",
    classes: Annotated[str, typer.Option(help="Names of its classes 0, 1, ..., likewise.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Add a compiled Keras model, for runs to start from.

    A model that names its columns and classes decides in what order they are taken; streams that announce the same names in another order are
    brought into it, and those with other names are refused.

        fedstream model add model.keras --name mine --features age,bmi,pressure --classes benign,malignant
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--name {name!r}: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 63")
    from fedstream.model.files import add_model
    from fedstream.model.source import read_model
    from fedstream.options import parse_names
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    store.check()
    with err.status("Checking the model (TensorFlow starts) ..."):
        description = add_model(store, name, read_model(source), parse_names("--features", features), parse_names("--classes", classes))
    if json:
        print_json(description.model_dump(mode="json") | {"parameters": description.parameters})
    else:
        out.print(f"added model [bold]{name}[/]: {_summary(description)}", highlight=False)


@model_app.command("list")
def list_command(json: Json = False) -> None:
    """List the models: those added, those built in, and their published versions."""
    from fedstream.model.builtin import builtin_names
    from fedstream.model.files import list_models
    from fedstream.model.versions import list_versions
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    added = list_models(store)
    rows = [(name, added[name][-1] if name in added else None, list_versions(store, name)) for name in sorted({*added, *builtin_names()})]
    if json:
        print_json({"models": [{"name": name, "initial": initial, "versions": versions} for name, initial, versions in rows]})
        return
    cells = [[name, initial[:12] if initial else "built when first used", ", ".join(map(str, versions))] for name, initial, versions in rows]
    print_table("models", ["name", "initial model", "published versions"], cells)


@model_app.command()
def show(model: ModelName, json: Json = False) -> None:
    """Show a model: its input, output, loss, metrics and variables, and its newest published version."""
    from fedstream.model.files import ensure_model
    from fedstream.model.versions import find_version, list_versions
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    description = ensure_model(store, model)
    versions = list_versions(store, model)
    newest = find_version(store, model).manifest if versions else None
    if json:
        print_json(description.model_dump(mode="json") | {"parameters": description.parameters, "versions": versions, "latest": newest})
        return
    out.print(f"model [bold]{model}[/]: {_summary(description)}", highlight=False)
    out.print(f"  keras file {description.keras_digest}\n  weights    {description.weights_digest}", highlight=False)
    if newest:
        lineage = f"round {newest.get('round')} of run {newest.get('run')}"
        out.print(f"  version {versions[-1]}: {lineage}; {metrics_text(newest.get('metrics') or {})}", highlight=False)
    for what, names in (("features", description.features), ("classes", description.classes)):
        if names:
            out.print(f"  {what}: {', '.join(names)}", highlight=False, markup=False)
    print_table("variables", ["name", "shape", "dtype"], [[v.name, " ".join(map(str, v.shape)), v.dtype] for v in description.variables])


@model_app.command()
def pull(
    model: Annotated[str, typer.Argument(metavar="NAME[@N]", help="Model, and version; without a version the newest.", show_default=False)],
    file: Annotated[str, typer.Option(help="Which of the version's files; `model show --json` lists them.")] = "model.keras",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="NAME-N.keras, or the file's name")] = None,
    json: Json = False,
) -> None:
    """Get a file of a published model, checked against its manifest: the model, or report.html, model_card.md, inference_service.yaml.

    The last is a KServe InferenceService:

        fedstream model pull mine --file inference_service.yaml && kubectl apply -f inference_service.yaml
    """
    from fedstream.model.versions import find_version, parse_version, read_version_file
    from fedstream.store.objects import ObjectStore

    name, number = parse_version(model)
    store = ObjectStore.from_env()
    version = find_version(store, name, number)
    data = read_version_file(store, version, file)
    path = output or Path(f"{name.replace(':', '-')}-{version.number}.keras" if file == "model.keras" else Path(file).name)
    write_file(path, data)
    if json:
        print_json({"model": name, "version": version.number, "file": str(path), "manifest": version.manifest})
    else:
        lineage = f"round {version.manifest.get('round')} of run {version.manifest.get('run')}"
        out.print(f"wrote {path}: version {version.number} of {name}, {lineage}", highlight=False)


def _summary(description: Any) -> str:
    return (
        f"input {tuple(description.input_shape)}, output {tuple(description.output_shape)}, {description.parameters:,} weights,"
        f" loss {description.loss}, metrics {', '.join(description.metrics) or 'none'}"
    )
