"""Documents from the bytes of an object. Whoever may write to the bucket chooses those bytes, so whatever is wrong with them is a CorruptObject."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedstream.errors import CorruptObject

Document = TypeVar("Document", bound=BaseModel)

DOCUMENT_BYTES = 16 * 1024 * 1024
"""Bytes of the largest document that is parsed: twice what plan_training writes at most, and a thousand times a usual commit."""

LONGEST_FIELD = 100
"""Characters of a field's name in a message: whoever wrote the object names its unknown fields."""


def read_document(kind: type[Document], data: bytes, where: str) -> Document:
    """Parse a document.

    Args:
        kind: its class.
        data: the object's bytes.
        where: its key, for the message.

    Raises:
        CorruptObject: they are no such document; names the field that is wrong.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        if field == "layout":
            raise CorruptObject(f"{where} cannot be read: {problem['msg'].removeprefix('Value error, ')}") from error
        shown = field if field.isprintable() else repr(field)[1:-1]
        what = f"{kind.__name__}{f' ({shown[:LONGEST_FIELD]})' if field else ''}: {problem['msg']}"
    except (ValueError, RecursionError) as error:  # a validator met what it was not made for
        what = f"{kind.__name__}: {error}"
    raise CorruptObject(f"{where} is no {what}; it is damaged, or was written by another version of fedstream")
