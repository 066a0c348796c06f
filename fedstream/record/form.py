"""The form of a run.

Everything about an entry comes from the field of its model, so the form, the command line, docs/form.md and the report
agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from fedstream.record.operational import is_operational

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
        within: parameter of the pipeline that holds this field and other rarely used ones as a JSON object; empty for a
            parameter of the field's own.
    """

    group: Group
    flag: str = ""
    within: str = ""


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
        within: parameter of the pipeline that holds the entry in a JSON object; empty for a parameter of its own.
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
    within: str = ""

    @property
    def parameter(self) -> str:
        """Name of the pipeline's parameter that holds the entry."""
        return self.within or self.name


def form_of(*models: type[BaseModel]) -> list[FormField]:
    """Return the entries of a form that combines one or more models.

    Entries are sorted by group, and within a group they keep the order of the models.

    Raises:
        TypeError: a field has no Entry, no description, a type that a form cannot show, or no default within an object.
    """
    fields = [
        _form_field(f"{model.__name__}.{name}", name, field)
        for model in models
        for name, field in model.model_fields.items()
    ]
    return sorted(fields, key=lambda field: GROUPS.index(field.group))


def packed_form(*models: type[BaseModel]) -> list[FormField]:
    """Return the entries of a form as the parameters of a pipeline: all that are `within` one object are one entry.

    Its default is an object of their defaults, which shows its keys.
    """
    order: dict[str, list[FormField]] = {}
    for field in form_of(*models):
        order.setdefault(field.parameter, []).append(field)
    return [_object(name, fields) if fields[0].within else fields[0] for name, fields in order.items()]


def _object(name: str, fields: list[FormField]) -> FormField:
    keys = " ".join(f"{field.name}: {field.description}" for field in fields)
    return FormField(
        name=name,
        group=fields[0].group,
        flag="",
        description=f"Rarely used values in one object; keys that are left out keep their defaults. {keys}",
        kind="document",
        choices=(),
        required=False,
        default={field.name: field.default for field in fields},
        operational=all(field.operational for field in fields),
    )


def _form_field(where: str, name: str, field: FieldInfo) -> FormField:
    entry = next((mark for mark in field.metadata if isinstance(mark, Entry)), None)
    if entry is None or not field.description:
        raise TypeError(
            f"{where} needs an Entry in its annotation, as Annotated[int, Entry('training')], and a description"
        )
    if entry.within and field.is_required():
        raise TypeError(f"{where} needs a default, because keys of {entry.within} can be left out")
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
        within=entry.within,
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
