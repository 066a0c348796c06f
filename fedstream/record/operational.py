"""Operational values: how a run is carried out, not what it is. They can change when the run is submitted again."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedstream.record.document import values_of

Model = TypeVar("Model", bound=BaseModel)

OPERATIONAL = "operational"
"""Marks a field as operational in its annotation, as in `Annotated[int, OPERATIONAL]`."""


def is_operational(field: FieldInfo) -> bool:
    """Tell whether a later submission of the same run can change a field."""
    return OPERATIONAL in field.metadata


def identity(document: BaseModel) -> dict[str, Any]:
    """Return the JSON values that determine what a document describes."""
    return _part(document, operational=False)


def operational(document: BaseModel) -> dict[str, Any]:
    """Return the JSON values that determine how it is carried out."""
    return _part(document, operational=True)


def with_operational(document: Model, values: dict[str, Any]) -> Model:
    """Return a document with other operational values.

    The values have the form that `operational` returns; values that are not given have their defaults.

    Raises:
        ValidationError: the values do not fit the document.
    """
    return type(document).model_validate(_merged(identity(document), values))


def _part(document: BaseModel, operational: bool) -> dict[str, Any]:
    """Return the values of the fields of one kind.

    A dictionary of documents contains fields of both kinds; items that have only defaults are left out.
    """
    dumped, part = values_of(document), {}
    for name, field in type(document).model_fields.items():
        if item := _item_type(field):
            items = {key: _part(value, operational) for key, value in getattr(document, name).items()}
            part[name] = {key: values for key, values in items.items() if values != _part(item(), operational)}
        elif is_operational(field) == operational:
            part[name] = dumped[name]
    return part


def _item_type(field: FieldInfo) -> type[BaseModel] | None:
    last = get_args(field.annotation)[-1:]
    return last[0] if last and isinstance(last[0], type) and issubclass(last[0], BaseModel) else None


def _merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return both dictionaries in one; dictionaries under the same key are merged item by item."""
    both = {
        name: _merged(base[name], other[name]) for name in base.keys() & other.keys() if isinstance(other[name], dict)
    }
    return base | other | both
