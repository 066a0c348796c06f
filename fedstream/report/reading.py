"""Read documents for the report. Anyone who can write to the bucket can change them, so every fault is one line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from fedstream.errors import CorruptObject
from fedstream.record.documents import Metrics
from fedstream.record.reading import Document
from fedstream.store.loading import load_document
from fedstream.store.store import Store
from fedstream.text import one_line

LARGEST = 2**53
"""Largest integer that a float holds exactly; counts, offsets and rounds are between 0 and this value."""

FARTHEST = 1e100
"""Maximum absolute value of a float: float32 ends at 3.4e38, and sums and axes of such values stay finite."""


def read(store: Store, document: type[Document], key: str) -> Document:
    """Read one document.

    Raises:
        ObjectNotFound: The document does not exist.
        CorruptObject: The object is not such a document, or contains impossible numbers.
    """
    return check(load_document(document, store, key), key)


def read_if_sound(store: Store, document: type[Document], key: str) -> Document | None:
    """Read a document of a client; return None if it is invalid, so that the other clients are still shown."""
    try:
        return read(store, document, key)
    except CorruptObject:
        return None


def check(document: Document, key: str) -> Document:
    """Return a document after checking that its numbers are possible.

    Raises:
        CorruptObject: An integer is negative, a number is too large, or a confusion matrix is not square.
    """
    for part in _parts(document):
        if isinstance(part, int) and part < 0:
            raise _corrupt(key, "it contains a negative number where none is possible")
        if (isinstance(part, int) and part > LARGEST) or (isinstance(part, float) and not abs(part) <= FARTHEST):
            raise _corrupt(key, "it contains a number that is far too large")
        if (
            isinstance(part, Metrics)
            and part.confusion is not None
            and any(len(row) != len(part.confusion) for row in part.confusion)
        ):
            raise _corrupt(key, "its confusion matrix is not square")
    return document


def _parts(value: Any) -> list[Any]:
    """Return a document and everything in its typed fields, at any depth."""
    found, left = [], [value]
    while left:
        part = left.pop()
        found.append(part)
        if isinstance(part, BaseModel):
            left += [
                getattr(part, name)
                for name, field in type(part).model_fields.items()
                if field.annotation != dict[str, Any]
            ]
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found


def _corrupt(key: str, what: str) -> CorruptObject:
    return CorruptObject(one_line(f"{key} cannot be read: {what}; `fedstream verify` reports what else is damaged"))
