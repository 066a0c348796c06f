"""Command line options generated from the entries of a form, so that the two always agree."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from fedstream.errors import UsageError
from fedstream.record.form import FormField, Kind, form_of
from fedstream.record.pipeline_options import PipelineOptions

if TYPE_CHECKING:
    from fedstream.store.store import Store

INTERRUPTED = 130
"""Exit code after Ctrl-C, the same as in shells."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
RunName = Annotated[str, typer.Argument(help="Name of the run.", show_default=False)]

THE_FORMS = "the form's"
"""Displayed default of an option whose default value is in the compiled pipeline."""

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY

OPTION_TYPES: dict[Kind, type] = {"flag": bool, "integer": int, "number": float}
"""Types of the kinds of entries that are not given as text."""

HINTS: dict[Kind, str] = {"names": " Separated by commas.", "document": " JSON, or a file of it."}


def with_options(
    model: type[BaseModel],
    receiver: str,
    unset: str = "",
    leave_out: Collection[str] = (),
    defaults: Mapping[str, tuple[Any, str]] = MappingProxyType({}),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds an option to a command for every entry of a form, in the form's groups.

    Args:
        model: The form.
        receiver: Name of the command's parameter that receives the values as a dictionary.
        unset: Displayed default of options that are not set, such as "the form's"; their value is then None. If it is
            empty, the form's own defaults are used.
        leave_out: Names of entries without an option.
        defaults: name -> default value, and how it is displayed, of entries that differ from the form's own defaults.
    """
    fields = [field for field in form_of(model) if field.name not in leave_out]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        others = {
            name: parameter
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name != receiver
        }
        parameters = [_parameter(field, unset, defaults.get(field.name)) for field in fields] + [
            parameter.replace(kind=KEYWORD_ONLY) for parameter in others.values()
        ]

        def wrapper(**values: Any) -> Any:
            given = {field.name: _parse(field, values.pop(field.name)) for field in fields}
            return command(**{receiver: given}, **values)

        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return wrapper

    return decorate


def option_of(model: type[BaseModel], name: str, unset: str) -> Any:
    """Return the option of one entry of a form, for a command that accepts only some entries."""
    return _option(next(field for field in form_of(model) if field.name == name), unset)


def _parameter(field: FormField, unset: str, own: tuple[Any, str] | None) -> inspect.Parameter:
    kind: Any = OPTION_TYPES.get(field.kind, str)
    default = inspect.Parameter.empty if field.required else "" if field.kind in HINTS else field.default
    if own:
        default, unset = own
    if default is None or (unset and not own):
        kind, default = kind | None, None
    return inspect.Parameter(
        field.name, KEYWORD_ONLY, default=default, annotation=Annotated[kind, _option(field, unset)]
    )


def _option(field: FormField, unset: str) -> Any:
    shown = unset or (field.kind not in HINTS and field.default not in ("", 0))
    help = field.description + HINTS.get(field.kind, "")
    return typer.Option(field.flag, help=help, show_default=shown, rich_help_panel=field.group.capitalize())


def _parse(field: FormField, value: Any) -> Any:
    if value is None:
        return None
    if field.kind == "names":
        return [name.strip() for name in value.split(",") if name.strip()]
    return parse_document(field.name, value) if field.kind == "document" else value


StoreFolder = Annotated[
    Path | None,
    typer.Option("--store", metavar="FOLDER", help="Folder of a simulation.", show_default="the bucket in use"),
]


def open_store(folder: Path | None) -> Store:
    """Return the store of a command: a simulation's folder, or the bucket that the environment names.

    Raises:
        UsageError: There is no such folder.
        SettingsError: The environment names no bucket.
    """
    from fedstream.store.disk import DiskStore
    from fedstream.store.objects import ObjectStore

    if folder is None:
        return ObjectStore.from_env()
    if not folder.is_dir():
        raise UsageError(f"--store {str(folder)!r}: there is no such folder")
    return DiskStore(folder)


KubeflowNamespace = Annotated[str, typer.Option(help="Where Kubeflow Pipelines is installed.")]
ConfigMap = Annotated[str | None, option_of(PipelineOptions, "config_map", THE_FORMS)]
StoreSecret = Annotated[str | None, option_of(PipelineOptions, "store_secret", THE_FORMS)]
KafkaSecret = Annotated[str | None, option_of(PipelineOptions, "kafka_secret", THE_FORMS)]
PackageFile = Annotated[Path | None, typer.Option(help="Compiled pipeline.", show_default="fedstream's own")]


def parse_document(name: str, value: str) -> dict[str, Any]:
    """Read a JSON object from an option, whose value is the JSON text or the path of a file that contains it.

    Raises:
        UsageError: The value is neither.
    """
    text = value
    if value and not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(
                f"{name}: {value!r} is neither a JSON object nor a file that can be read ({error.strerror})"
            ) from error
    try:
        document = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{name}: expected a JSON object such as {{}}, not {text[:100]!r}")
    return document


def parse_names(name: str, value: str) -> list[str]:
    """Read names from an option.

    Its value is a comma-separated list, or the path of a .json file that contains a list of names.

    Raises:
        UsageError: The file contains something else.
    """
    if not value.endswith(".json"):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        names = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {value!r} cannot be read as a JSON list of names ({error})") from error
    if not isinstance(names, list) or not all(isinstance(own, str) for own in names):
        raise UsageError(f'{name}: {value!r} must hold a JSON list of names, such as ["benign", "malignant"]')
    return names


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")
