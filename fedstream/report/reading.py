"""Documents as the report reads them: whoever can write to the bucket may have written them, so each fault is one line."""

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
"""Of a whole number: what a float holds exactly. No count, offset or round is larger, nor below 0."""

FARTHEST = 1e100
"""From 0, of any other number: float32 ends at 3.4e38, and sums and axes of these stay finite."""


def read(store: Store, document: type[Document], key: str) -> Document:
    """Read one document.

    Raises:
        ObjectNotFound: there is none.
        CorruptObject: it is no such document, or holds numbers that cannot be.
    """
    return check(load_document(document, store, key), key)


def read_if_sound(store: Store, document: type[Document], key: str) -> Document | None:
    """Read what a client has written; None if that is no such document, which is no reason to show nothing of the others."""
    try:
        return read(store, document, key)
    except CorruptObject:
        return None


def check(document: Document, key: str) -> Document:
    """Return a document whose numbers can be.

    Raises:
        CorruptObject: a whole number is negative, any number is huge, or a confusion matrix is not square.
    """
    for part in _parts(document):
        if isinstance(part, int) and part < 0:
            raise _corrupt(key, "a number in it is below 0, which it cannot be")
        if (isinstance(part, int) and part > LARGEST) or (isinstance(part, float) and not abs(part) <= FARTHEST):
            raise _corrupt(key, "a number in it is far too large")
        if isinstance(part, Metrics) and part.confusion is not None and any(len(row) != len(part.confusion) for row in part.confusion):
            raise _corrupt(key, "a confusion matrix is not square")
    return document


def _parts(value: Any) -> list[Any]:
    """Return a document and all that is in its typed fields, however deep."""
    found, left = [], [value]
    while left:
        part = left.pop()
        found.append(part)
        if isinstance(part, BaseModel):
            left += [getattr(part, name) for name, field in type(part).model_fields.items() if field.annotation != dict[str, Any]]
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found


def _corrupt(key: str, what: str) -> CorruptObject:
    return CorruptObject(one_line(f"{key} cannot be read: {what}; `fedstream verify` tells what else is damaged"))
