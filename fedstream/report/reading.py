"""Documents as the report reads them: whoever can write to the bucket may have written them, so each fault is one line."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedstream.errors import CorruptObject
from fedstream.report.text import one_line
from fedstream.store.canonical import sha256_hex
from fedstream.store.documents import Metrics
from fedstream.store.objects import ObjectStore

Document = TypeVar("Document", bound=BaseModel)

LARGEST = 2**53
"""Of a whole number: what a float holds exactly. No count, offset or round is larger, nor below 0."""

FARTHEST = 1e100
"""From 0, of any other number: float32 ends at 3.4e38, and sums and axes of these stay finite."""


def read(store: ObjectStore, document: type[Document], key: str) -> Document:
    """Read one document.

    Raises:
        ObjectNotFound: there is none.
        CorruptObject: it is no such document, or holds numbers that cannot be.
    """
    data = store.get(key)
    try:
        found = document.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is nested too deeply"
        raise _corrupt(key, what) from error
    return check(found, key)


def read_object(store: ObjectStore, key: str) -> tuple[dict[str, Any], str]:
    """Read a JSON object whose fields are the caller's to check, and return it with the SHA-256 of its bytes.

    Raises:
        ObjectNotFound: there is none.
        CorruptObject: it is no JSON object.
    """
    data = store.get(key)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _corrupt(key, "it is no JSON") from error
    if not isinstance(found, dict):
        raise _corrupt(key, "it is no JSON object")
    return found, sha256_hex(data)


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
