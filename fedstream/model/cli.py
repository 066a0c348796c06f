"""`fedstream model`: add models, and pull published ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.errors import ModelError, ObjectNotFound, UsageError
from fedstream.output import out, print_json, print_table

model_app = typer.Typer(no_args_is_help=True, help="Add models to train, and pull published ones.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@model_app.command()
def add(
    source: Annotated[str, typer.Argument(help="FILE.keras, or package.module:function that returns a compiled Keras model.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name of the model.", show_default=False)],
    json: Json = False,
) -> None:
    """Check a compiled Keras model and put it into the store.

        fedstream model add classifier.keras --name classifier
    """
    from fedstream.model.files import add_model, load_callable, save_keras
    from fedstream.store.objects import ObjectStore

    if not re.fullmatch(NAME, name):
        raise UsageError(f"model name {name!r} cannot be used; use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit")
    if source.endswith(".keras"):
        data = _read(Path(source))
    elif ":" in source:
        data = save_keras(load_callable(source))
    else:
        raise UsageError(f"{source!r} is neither a .keras file nor package.module:function")
    store = ObjectStore.from_env()
    store.ensure_bucket()
    description = add_model(store, name, data, source)
    if json:
        print_json(description.model_dump(mode="json"))
    else:
        shapes = f"{tuple(description.input_shape)} -> {tuple(description.output_shape)}"
        out.print(f"added {name}: {shapes}, {description.parameters:,} parameters, {description.keras_digest[:12]}", highlight=False)


@model_app.command("list")
def list_(json: Json = False) -> None:
    """List models, and their latest published version."""
    from fedstream.model.builtin import BUILTIN
    from fedstream.model.files import list_models
    from fedstream.store.layout import ModelKeys
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    rows = []
    for name in [*list_models(store), *BUILTIN]:
        latest = ModelKeys(name).latest
        rows.append((name, store.get_json(latest)["version"] if store.exists(latest) else 0))
    if json:
        print_json([{"model": name, "latest": version or None} for name, version in rows])
    else:
        print_table("models", ("model", "latest version"), [(name, str(version or "")) for name, version in rows])


@model_app.command()
def pull(
    model: Annotated[str, typer.Argument(help="NAME for the latest version, or NAME@n.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="NAME-n.keras")] = None,
    json: Json = False,
) -> None:
    """Download a published model, and check its digest."""
    from fedstream.store.layout import ModelKeys
    from fedstream.store.objects import ObjectStore

    store = ObjectStore.from_env()
    name, _, number = model.partition("@")
    if number and not number.isdigit():
        raise UsageError(f"version {number!r} is no number; give NAME@1, or NAME for the latest")
    keys = ModelKeys(name)
    try:
        version = int(number) if number else store.get_json(keys.latest)["version"]
        manifest: dict[str, Any] = store.get_json(keys.version(version, "manifest.json"))
    except ObjectNotFound as error:
        raise ModelError(f"model {model!r} has not been published; `fedstream model list` shows what has") from error
    path = output or Path(f"{keys.model.replace(':', '-')}-{version}.keras")
    path.write_bytes(store.get_verified(keys.version(version, "model.keras"), manifest["files"]["model.keras"]))
    if json:
        print_json(manifest | {"path": str(path)})
    else:
        out.print(f"wrote {path}: version {version}, round {manifest['round']} of run {manifest['run']}", highlight=False)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give the path of a .keras file") from error
