"""Command line options of a run, made from RunSpec, so that the form, the command line and the spec cannot disagree."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from fedstream.errors import UsageError
from fedstream.record.spec import RunSpec

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
RunName = Annotated[str, typer.Argument(help="Name of the run.", show_default=False)]

KubeflowNamespace = Annotated[str, typer.Option(help="Where Kubeflow Pipelines is installed.")]
ConfigMap = Annotated[str | None, typer.Option(help="Config map with the addresses of Kafka and the store.", show_default="the form's")]
StoreSecret = Annotated[str | None, typer.Option(help="Secret with the store's accesskey and secretkey.", show_default="the form's")]
KafkaSecret = Annotated[str | None, typer.Option(help="Secret with Kafka's username and password; may be absent.", show_default="the form's")]
PackageFile = Annotated[Path | None, typer.Option(help="Compiled pipeline.", show_default="fedstream's own")]

RENAMED = {"run": "--name", "round_deadline_s": "--round-deadline"}


def with_spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every field of RunSpec; it receives them as `spec`, a dictionary of form values."""
    own = inspect.signature(command).parameters
    annotations = dict(inspect.get_annotations(command, eval_str=True))
    annotations.pop("spec")
    parameters = []
    for name, field in RunSpec.model_fields.items():
        text = field.annotation is str or get_origin(field.annotation) is not None or field.annotation not in (bool, int, float)
        flag = RENAMED.get(name, f"--{name.replace('_', '-')}")
        option = typer.Option(flag, help=_help(name, field.annotation, field.description or ""), show_default=field.default not in ({}, [], "", 0.0))
        default = inspect.Parameter.empty if field.is_required() else field.default if not text or isinstance(field.default, str) else ""
        annotations[name] = Annotated[str if text else field.annotation, option]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotations[name]))

    def wrapper(**values: Any) -> Any:
        spec = {name: _parse(name, values.pop(name)) for name in RunSpec.model_fields}
        return command(spec=spec, **values)

    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotations[name]) for name, parameter in own.items() if name != "spec"
    ]
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    wrapper.__annotations__ = annotations
    wrapper.__signature__ = inspect.Signature([*parameters, *others])  # type: ignore[attr-defined]
    return wrapper


def _help(name: str, annotation: Any, description: str) -> str:
    if name == "clients":
        return f"{description} Separated by commas."
    return f"{description} JSON, or a file of it." if _is_document(name) else description


def _is_document(name: str) -> bool:
    return name in ("data_restriction", "strategy_config", "sites", "placement")


def _parse(name: str, value: Any) -> Any:
    if name == "clients":
        return [client.strip() for client in value.split(",") if client.strip()]
    return parse_document(name, value) if _is_document(name) else value


def parse_document(name: str, value: str) -> dict[str, Any]:
    """Read a JSON object from an option: its text, or the path of a file that holds it.

    Raises:
        UsageError: it is neither.
    """
    text = value
    if value and not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"{name}: {value!r} is neither a JSON object nor a file that can be read ({error.strerror})") from error
    try:
        document = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{name}: expected a JSON object such as {{}}, not {text[:100]!r}")
    return document


def parse_names(name: str, value: str) -> list[str]:
    """Read names from an option: separated by commas, or the path of a .json file that holds a list of them.

    Raises:
        UsageError: the file holds something else.
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
    raise ValueError(f"{constant} is no JSON value")
