"""The form of a run.

Everything about an entry comes from the field of its model, so the form, the command line, docs/form.md and the report
agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from fedstream.errors import SpecError
from fedstream.record.names import NAME_RULE
from fedstream.record.operational import is_operational

Model = TypeVar("Model", bound=BaseModel)

Group = Literal["who", "data", "training", "aggregation", "stopping", "where it runs"]
GROUPS: tuple[Group, ...] = get_args(Group)

Kind = Literal["flag", "integer", "number", "text", "choice", "names", "document"]
"""How a value is given: commas separate `names` on a command line, and a `document` is a JSON object."""

SCALARS: dict[Any, Kind] = {bool: "flag", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True)
class Entry:
    """Makes a field an entry of the form, as part of the field's annotation.

    Attributes:
        group: entries that are shown together.
        flag: option on the command line; empty for `--` and the field's name.
    """

    group: Group
    flag: str = ""


@dataclass(frozen=True)
class FormField:
    """An entry of the form.

    Attributes:
        name: name of the field.
        group: entries that are shown together.
        flag: option on the command line.
        description: what the entry means, in a sentence or two.
        kind: how the value is given.
        choices: possible values of a `choice`.
        required: whether the entry has no default.
        default: default as a JSON value; None if there is none.
        operational: whether a later submission of the same run can change the value.
    """

    name: str
    group: Group
    flag: str
    description: str
    kind: Kind
    choices: tuple[str, ...]
    required: bool
    default: Any
    operational: bool


def form_of(*models: type[BaseModel]) -> list[FormField]:
    """Return the entries of a form that combines one or more models.

    Entries are sorted by group, and within a group they keep the order of the models.

    Raises:
        TypeError: a field has no Entry, no description, or a type that a form cannot show.
    """
    fields = [
        _form_field(f"{model.__name__}.{name}", name, field)
        for model in models
        for name, field in model.model_fields.items()
    ]
    return sorted(fields, key=lambda field: GROUPS.index(field.group))


def parse_form(model: type[Model], values: dict[str, Any]) -> Model:
    """Validate the given values.

    Raises:
        SpecError: a field is wrong. One line names each wrong field, the given value and what is expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SpecError(explained(error)) from error


def explained(error: ValidationError) -> str:
    """Return one line that names each wrong field, the given value and what is expected."""
    return "; ".join(_explained(problem) for problem in error.errors())


def _explained(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    what = NAME_RULE if problem["type"] == "string_pattern_mismatch" else problem["msg"].removeprefix("Value error, ")
    if not where or problem["type"] == "missing":
        return f"{where}: {what}" if where else what
    return f"{where}: {what} (given: {problem['input']!r})"


def _form_field(where: str, name: str, field: FieldInfo) -> FormField:
    entry = next((mark for mark in field.metadata if isinstance(mark, Entry)), None)
    if entry is None or not field.description:
        raise TypeError(
            f"{where} needs an Entry in its annotation, as Annotated[int, Entry('training')], and a description"
        )
    return FormField(
        name=name,
        group=entry.group,
        flag=entry.flag or f"--{name.replace('_', '-')}",
        description=field.description,
        kind=_kind(where, field.annotation),
        choices=get_args(field.annotation) if get_origin(field.annotation) is Literal else (),
        required=field.is_required(),
        default=None if field.is_required() else TypeAdapter(Any).dump_python(field.default, mode="json"),
        operational=is_operational(field),
    )


def _kind(where: str, annotation: Any) -> Kind:
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return "choice"
    if origin is list:
        return "names"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, BaseModel)):
        return "document"
    if origin in SCALARS:
        return SCALARS[origin]
    raise TypeError(
        f"{where} is a {annotation}, which a form cannot show; "
        f"use {', '.join(kind.__name__ for kind in SCALARS)}, Literal, list or dict"
    )
