"""The contract of every store: get, put once, and replace if unchanged. One test suite covers all stores."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fedstream.errors import CorruptObject, FedstreamError, ObjectConflict, StoreError
from fedstream.record.canonical import canonical_json, sha256_hex

T = TypeVar("T")

PIECE_BYTES = 1 << 20
"""Number of bytes that `download` reads at once."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object in a listing. Its key is relative to the store's prefix."""

    key: str
    size: int
    last_modified: datetime


class Store(ABC):
    """Objects by key. A key is a path such as `runs/r/spec.json`; every object except a pointer is written once.

    A new kind of store implements the abstract methods; the other methods build on them.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the store in messages, such as `bucket 'fedstream'`."""

    @property
    def access(self) -> Mapping[str, str]:
        """What a reader needs besides the address of an object, such as the server's address; empty for nothing."""
        return {}

    @abstractmethod
    def uri(self, key: str) -> str:
        """Return the address of an object, or of a folder of objects, for other programs."""

    @abstractmethod
    def check(self) -> None:
        """Raise StoreUnavailable unless the store can be used."""

    @abstractmethod
    def within(self, prefix: str) -> Store:
        """Return the part of the store below a prefix as a separate store."""

    @abstractmethod
    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """Return the bytes of an object, hardly more than the limit, and the tag of this version of it.

        Raises:
            ObjectNotFound: there is no such object.
        """

    @abstractmethod
    def read(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        """Pass an object to a function in pieces, and return its result.

        The function is called again if the connection breaks.

        Raises:
            ObjectNotFound: there is no such object.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    @abstractmethod
    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return all objects whose keys begin with a prefix, sorted by key."""

    @abstractmethod
    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its tag is still `etag` (None: if it does not exist), and tell whether it was written.

        Args:
            key: key of the object.
            data: its bytes, at least one.
            etag: the tag of the version to replace.
        """

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object that is on no record, such as a probe's. Without permission, the object stays."""

    def folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the folders directly below a prefix that ends with a slash, sorted."""
        below = (info.key.removeprefix(prefix).partition("/") for info in self.list(prefix))
        return sorted({folder for folder, slash, _ in below if slash})

    def get(self, key: str, limit: int | None = None) -> bytes:
        """Return an object's bytes.

        Args:
            key: key of the object.
            limit: maximum bytes of the object; None for no limit.

        Raises:
            ObjectNotFound: there is no such object.
            CorruptObject: the object is larger than the limit.
            StoreUnavailable: the store does not work.
        """
        data = self.get_with_etag(key, limit)[0]
        if limit is not None and len(data) > limit:
            raise CorruptObject(
                f"{key} has more than {limit:,} bytes, which fedstream never writes there; another program wrote it"
            )
        return data

    def get_verified(self, key: str, digest: str) -> bytes:
        """Return the bytes of an object, whose SHA-256 must be `digest`.

        Raises:
            CorruptObject: the object has another digest.
        """
        data = self.get(key)
        check_digest(key, sha256_hex(data), digest)
        return data

    def get_json(self, key: str) -> Any:
        """Return the JSON value in an object."""
        try:
            return json.loads(self.get(key))
        except (ValueError, RecursionError) as error:
            raise CorruptObject(f"{key} is not JSON ({error}); it was changed after it was written") from error

    def download(self, key: str, digest: str, path: Path, limit: int) -> None:
        """Write an object, whose SHA-256 must be `digest`, to a new file, piece by piece.

        Args:
            key: key of the object.
            digest: SHA-256 on record.
            path: the file.
            limit: maximum bytes of the object.

        Raises:
            CorruptObject: the object has another digest, or is larger than the limit, beyond which hardly more is read.
                There is no file then.
            ObjectNotFound: there is no such object.
            StoreUnavailable: the store does not work.
            StoreError: the file cannot be written.
        """
        try:
            check_digest(key, self.read(key, lambda pieces: _copy(key, pieces, path, limit)), digest)
        except FedstreamError:
            path.unlink(missing_ok=True)
            raise

    def digest(self, key: str) -> str:
        """Return the SHA-256 of an object of any size, reading it piece by piece.

        Raises:
            ObjectNotFound: there is no such object.
            StoreUnavailable: the store does not work.
        """
        return self.read(key, _hashed)

    def put_new(self, key: str, data: bytes) -> str:
        """Write an object once, and return its SHA-256.

        If the object already exists with the same bytes, the call is a retry and succeeds.

        Raises:
            ObjectConflict: the object exists with other bytes.
            StoreError: there are no bytes. An empty object could not be told from what some servers keep of a broken
                connection.
        """
        if not data:
            raise StoreError(f"{key} would be empty; a store holds no empty objects")
        digest = sha256_hex(data)
        if not self.put_if_match(key, data, None):
            found = sha256_hex(self.get(key))
            if found != digest:
                raise ObjectConflict(
                    f"{key} is on record with digest {found} and is never overwritten; the new bytes have {digest}"
                )
        return digest

    def put_new_json(self, key: str, value: Any) -> str:
        """Write a JSON value once, in its canonical form."""
        return self.put_new(key, canonical_json(value))


def _hashed(pieces: Iterator[bytes]) -> str:
    hashed = hashlib.sha256()
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest()


def _copy(key: str, pieces: Iterator[bytes], path: Path, limit: int) -> str:
    """Write an object to a file, and return its SHA-256."""
    hashed = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            if file.tell() + len(piece) > limit:
                raise CorruptObject(
                    f"{key} has more than {limit:,} bytes, which no update of this model has; another program wrote it"
                )
            hashed.update(piece)
            _write(file, piece)
    return hashed.hexdigest()


def check_digest(key: str, found: str, digest: str) -> None:
    """Check the digest of an object against the one on record.

    Raises:
        CorruptObject: they differ.
    """
    if found != digest:
        raise CorruptObject(f"{key} has digest {found}, but {digest} is on record; it was changed after it was written")


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise StoreError(
            f"cannot write {file.name}: {error.strerror}; "
            "free some space there, or set TMPDIR to a folder that has more"
        ) from error
