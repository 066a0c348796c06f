"""Documents from the store, read with a limit, because anyone who can write to the bucket chooses their bytes."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from fedstream.record.reading import DOCUMENT_BYTES, read_document
from fedstream.store.store import Store

Document = TypeVar("Document", bound=BaseModel)


def load_document(kind: type[Document], store: Store, key: str) -> Document:
    """Return a document from the store, without reading more than the maximum size of a document.

    Raises:
        ObjectNotFound: there is no such object.
        CorruptObject: the object is not such a document.
    """
    return read_document(kind, store.get(key, DOCUMENT_BYTES), key)
