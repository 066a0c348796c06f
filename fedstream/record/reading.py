"""Documents from the bytes of an object.

Anyone who can write to the bucket chooses those bytes, so every problem with them is a CorruptObject.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedstream.errors import CorruptObject

Document = TypeVar("Document", bound=BaseModel)

DOCUMENT_BYTES = 16 * 1024 * 1024
"""Maximum bytes of a document: twice the most that plan_training writes, and a thousand times a usual commit."""

LONGEST_FIELD = 100
"""Maximum characters of a field's name in a message, since the writer of an object names its unknown fields."""


def read_document(kind: type[Document], data: bytes, where: str) -> Document:
    """Parse a document.

    Args:
        kind: class of the document.
        data: bytes of the object.
        where: key of the object, for the message.

    Raises:
        CorruptObject: the bytes are not such a document; the message names the wrong field.
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
    except (ValueError, RecursionError) as error:  # a validator met an input that it does not handle
        what = f"{kind.__name__}: {error}"
    raise CorruptObject(f"{where} is no {what}; it is damaged, or was written by another version of fedstream")
