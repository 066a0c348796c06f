"""Fields that a document leaves out where they have their default, so that it keeps the bytes of earlier versions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

UNWRITTEN = "unwritten"
"""Marks a field as left out where it has its default, as in `Annotated[bool, UNWRITTEN]`."""


def written(document: BaseModel) -> dict[str, Any]:
    """Return the JSON values that go on record."""
    values = document.model_dump(mode="json")
    return {
        name: values[name]
        for name, field in type(document).model_fields.items()
        if UNWRITTEN not in field.metadata or getattr(document, name) != field.default
    }
