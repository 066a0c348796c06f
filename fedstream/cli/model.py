"""The command `fedstream model`: add models, show them, download published versions, and manage their aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.cli.model_removal import remove_command
from fedstream.cli.output import err, metrics_text, out, print_json, print_table, write_file
from fedstream.errors import CorruptObject, UsageError

model_app = typer.Typer(
    no_args_is_help=True, help="Add models, show them, download published versions, and manage their aliases."
)
model_app.command("remove")(remove_command)

SHOWN = 5
"""Number of earlier files of a model that are shown; --json lists all of them."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the model, such as `mine` or `builtin:digits-mlp`.", show_default=False
    ),
]


@model_app.command()
def add(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="A .keras file, or `package.module:function` that returns a compiled model; "
            "several files are sub-models of a chain, in this order.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the model.", show_default=False)],
    features: Annotated[
        str,
        typer.Option(
            help="Names of the model's columns, in its order, separated by commas, or a .json list.", show_default=False
        ),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="Names of the model's classes 0, 1, ..., separated by commas, or a .json list.", show_default=False
        ),
    ] = "",
    lora_rank: Annotated[
        int | None,
        typer.Option(help="Train LoRA adapters of this rank in place of the model's kernels.", show_default=False),
    ] = None,
    lora_layers: Annotated[
        str, typer.Option(help="With --lora-rank, a glob pattern of the layers that have adapters.")
    ] = "*",
    json: Json = False,
) -> None:
    """Add a compiled Keras model for new runs to start from.

    New runs use the file that was added last under a name, even if the same file was added and replaced before.

    If a model names its columns and classes, these names define their order: streams that announce the same names in a
    different order are reordered, and streams with other names are rejected.

        fedstream model add model.keras --name mine --features age,bmi,pressure --classes benign,malignant

    With --lora-rank, runs train and exchange only small adapters, which are merged when the model is published:

        fedstream model add big.keras --name big --lora-rank 8 --lora-layers "*/query"

    A model can have several outputs that predict the same label. Several files are sub-models that are joined to one:

        fedstream model add edge.keras fog.keras cloud.keras --name sensors
    """
    from fedstream.catalog.additions import check_name, current
    from fedstream.catalog.models import add_model
    from fedstream.cli.options import parse_names
    from fedstream.model.source import read_models, with_lora
    from fedstream.store.objects import ObjectStore

    check_name(name)
    if lora_rank is None and lora_layers != "*":
        raise UsageError("--lora-layers says which layers have LoRA adapters; give their rank with --lora-rank")
    store = ObjectStore.from_env()
    store.check()
    before = current(store, name)
    with err.status("Checking the model (starting TensorFlow) ..."):
        data = read_models(sources)
        if lora_rank is not None:
            data = with_lora(data, lora_rank, lora_layers)
        description = add_model(
            store, name, data, parse_names("--features", features), parse_names("--classes", classes)
        )
    replaced = before.digest if before and before.digest != description.keras_digest else None
    if json:
        added = {
            "parameters": description.parameters,
            "added": before is None or replaced is not None,
            "replaced": replaced,
        }
        print_json(description.model_dump(mode="json") | added)
    elif before and not replaced:
        out.print(f"model [bold]{name}[/] already is this file; nothing was changed", highlight=False)
    else:
        instead = f"; new runs start from it instead of {before.digest[:12]}" if before else ""
        out.print(f"added model [bold]{name}[/]: {_summary(description)}{instead}", highlight=False, soft_wrap=True)


@model_app.command("list")
def list_command(json: Json = False) -> None:
    """List all models, added and built in, with their published versions and aliases."""
    from fedstream.catalog.additions import current, list_models
    from fedstream.catalog.versions import list_aliases, list_versions
    from fedstream.model.builtin import builtin_names
    from fedstream.store.objects import ObjectStore

    store, rows = ObjectStore.from_env(), []
    for name in sorted({*list_models(store), *builtin_names()}):
        try:
            added = current(store, name)
            initial, shown = (added.digest, added.digest[:12]) if added else (None, "built on first use")
        except CorruptObject:
            initial, shown = None, "damaged: see `model show`"
        rows.append((name, initial, shown, list_versions(store, name), list_aliases(store, name)))
    if json:
        print_json(
            {"models": [{"name": row[0], "initial": row[1], "versions": row[3], "aliases": row[4]} for row in rows]}
        )
        return
    cells = [
        [name, shown, ", ".join(map(str, versions)), _aliases(aliases)] for name, _, shown, versions, aliases in rows
    ]
    print_table("models", ["name", "initial model", "published versions", "aliases"], cells)


@model_app.command()
def show(model: ModelName, json: Json = False) -> None:
    """Show a model's initial weights, input, output, loss, metrics, variables and published versions."""
    from fedstream.catalog.additions import additions
    from fedstream.catalog.models import ensure_model
    from fedstream.catalog.versions import find_version, list_aliases, list_versions
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    description = ensure_model(store, model)
    versions, aliases = list_versions(store, model), list_aliases(store, model)
    newest = find_version(store, model).manifest if versions else None
    history = [{"number": added.number, "keras_digest": added.digest} for added in additions(store, model)]
    if json:
        more = {
            "parameters": description.parameters,
            "added": history,
            "versions": versions,
            "latest": newest and newest.model_dump(mode="json"),
            "aliases": aliases,
        }
        print_json(description.model_dump(mode="json") | more)
        return
    out.print(f"model [bold]{model}[/]: {_summary(description)}", highlight=False)
    earlier = (
        f" (previously {', '.join(str(added['keras_digest'])[:12] for added in history[-2::-1][:SHOWN])})"
        if len(history) > 1
        else ""
    )
    out.print(
        f"  keras file {description.keras_digest}{earlier}\n  weights    {description.weights_digest}",
        highlight=False,
        soft_wrap=True,
    )
    if newest:
        lineage = f"round {newest.round} of run {newest.run}"
        out.print(f"  version {versions[-1]}: {lineage}; {metrics_text(newest.metrics)}", markup=False, highlight=False)
    if aliases:
        out.print(f"  aliases    {_aliases(aliases)}", highlight=False)
    for what, names in (("features", description.features), ("classes", description.classes)):
        if names:
            out.print(f"  {what}: {', '.join(names)}", highlight=False, markup=False)
    print_table(
        "variables",
        ["name", "shape", "dtype"],
        [[v.name, " ".join(map(str, v.shape)), v.dtype] for v in description.variables],
    )


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{alias} is {number or 'damaged'}" for alias, number in aliases.items())


@model_app.command()
def promote(
    version: Annotated[
        str, typer.Argument(metavar="NAME@N", help="Model and version, or another alias of it.", show_default=False)
    ],
    alias: Annotated[str, typer.Argument(help="Alias, such as `champion`.", show_default=False)],
    json: Json = False,
) -> None:
    """Point an alias at a published version.

    NAME@ALIAS is accepted wherever a version is, and moves when another version is promoted.

    fedstream model promote digits@3 champion
    """
    from fedstream.catalog.aliases import promote as move
    from fedstream.catalog.versions import find_version, parse_version
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    name, which = parse_version(version)
    if which is None:
        raise UsageError(
            f"the version of {name} to promote is missing; pass it as in `fedstream model promote {name}@3 {alias}`"
        )
    found = find_version(store, name, which)
    before = move(store, found, alias)
    if json:
        print_json({"model": name, "alias": alias, "version": found.number, "before": before})
    else:
        moved = f"; it was version {before} before" if before and before != found.number else ""
        out.print(f"{name}@{alias} is now version {found.number}{moved}", highlight=False, markup=False)


@model_app.command()
def demote(
    version: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Model and alias.", show_default=False)],
    json: Json = False,
) -> None:
    """Remove an alias; the version that it points to is kept."""
    from fedstream.catalog.aliases import demote as take_away
    from fedstream.catalog.versions import parse_version
    from fedstream.store.objects import ObjectStore

    name, alias = parse_version(version)
    if not isinstance(alias, str):
        raise UsageError(f"{version!r} does not contain an alias; pass NAME@ALIAS, such as {name}@champion")
    number = take_away(ObjectStore.from_env(), name, alias)
    if json:
        print_json({"model": name, "alias": alias, "version": None, "before": number})
    else:
        out.print(f"removed {name}@{alias}; version {number} is kept", highlight=False, markup=False)


@model_app.command()
def pull(
    model: Annotated[
        str,
        typer.Argument(metavar="NAME[@N|@ALIAS]", help="Model and version; the newest by default.", show_default=False),
    ],
    file: Annotated[
        str, typer.Option(help="File of the version; `model show --json` lists all files.")
    ] = "model.keras",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="NAME-N.keras, or the file's name"),
    ] = None,
    json: Json = False,
) -> None:
    """Download a file of a published version and check it against the version's manifest.

    The files are the model itself, report.html, model_card.md and inference_service.yaml. The last is a KServe
    InferenceService:

        fedstream model pull mine --file inference_service.yaml && kubectl apply -f inference_service.yaml
    """
    from fedstream.catalog.versions import find_version, parse_version, read_version_file
    from fedstream.store.objects import ObjectStore

    name, which = parse_version(model)
    store = ObjectStore.from_env()
    version = find_version(store, name, which)
    data = read_version_file(store, version, file)
    path = output or Path(
        f"{name.replace(':', '-')}-{version.number}.keras" if file == "model.keras" else Path(file).name
    )
    write_file(path, data)
    if json:
        print_json(
            {
                "model": name,
                "version": version.number,
                "file": str(path),
                "manifest": version.manifest.model_dump(mode="json"),
            }
        )
    else:
        lineage = f"round {version.manifest.round} of run {version.manifest.run}"
        out.print(f"wrote {path}: version {version.number} of {name}, {lineage}", highlight=False)


def _summary(description: Any) -> str:
    outputs = f"outputs {', '.join(description.outputs)}, " if description.outputs else ""
    return (
        f"input {description.shape_text}, output {tuple(description.output_shape)}, "
        f"{outputs}{description.parameters:,} weights,"
        f" loss {description.loss}, metrics {', '.join(description.metrics) or 'none'}"
    )
