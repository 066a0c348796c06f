"""Weights mapped from files.

The values of an array are read from the disk where they are used, and need no memory of their own. Small updates are
held in memory instead, because a file takes longer than reading them.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from fedstream.errors import CorruptObject
from fedstream.record.canonical import sha256_hex
from fedstream.record.extras import ArraySpec
from fedstream.record.weights import Weights
from fedstream.store.resident import Resident
from fedstream.store.store import Store, check_digest

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
"""numpy's names for the types that safetensors stores, which are little-endian and contiguous."""


HEADER_BYTES = 16 << 20
"""Maximum bytes of a header, far more than the names and shapes of a model need."""


def largest_update(*expected: Mapping[str, ArraySpec]) -> int:
    """Return the maximum number of bytes of an update with these arrays as safetensors."""
    return HEADER_BYTES + sum(spec.nbytes for arrays in expected for spec in arrays.values())


SMALL_BYTES, HELD_BYTES = 1 << 20, 64 << 20
"""Maximum bytes of an update that is held in memory, and of all of them together."""


class Downloads:
    """Objects of a bucket in a temporary folder, each fetched once and mapped.

    The folder is created in TMPDIR, and removed at the end of the context.

    Args:
        store: the bucket.
        limit: maximum bytes of an object.

    Example:
        >>> with Downloads(store, largest_update(expected)) as downloads:  # doctest: +SKIP
        ...     updates = [(examples, downloads.weights(key, digest)) for examples, key, digest in accepted]
        ...     mean = federated_average(updates)
    """

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._held = 0 if limit <= HEADER_BYTES + SMALL_BYTES else HELD_BYTES
        self._resident = Resident()
        self._read: dict[tuple[str, str], Weights] = {}

    def weights(self, key: str, digest: str, decode: Callable[[Weights], Weights] | None = None) -> Weights:
        """Return the weights of an object. Their arrays can be read while the context lasts.

        Args:
            key: key of the object.
            digest: SHA-256 of the object.
            decode: makes weights of the object's arrays, once, which are written to the folder and mapped too; None if
                the arrays are the weights.

        Raises:
            CorruptObject: the object has another digest, exceeds the limit, is not valid safetensors or cannot be
                decoded.
            ObjectNotFound: there is no such object.
        """
        if (key, digest) not in self._read:
            arrays = self._hold(key, digest) or self._map(key, digest)
            self._read[key, digest] = self._keep(decode(arrays), key) if decode else arrays
        return self._read[key, digest]

    def _hold(self, key: str, digest: str) -> Weights | None:
        """Return the weights of a small object from memory, or None if it has to be mapped."""
        if self._held >= HELD_BYTES:
            return None
        try:
            data = self._store.get(key, SMALL_BYTES)
        except CorruptObject:  # larger than any honest update of this model
            return None
        check_digest(key, sha256_hex(data), digest)
        self._held += len(data)
        return view_weights(data, key)

    def _map(self, key: str, digest: str) -> Weights:
        path = Path(self._folder.name) / f"{len(self._read)}.safetensors"
        self._store.download(key, digest, path, self._limit)
        return map_weights(path, key, self._resident.watch)

    def _keep(self, decoded: Weights, key: str) -> Weights:
        """Return decoded weights from memory if they are small, or from a file."""
        size = sum(array.nbytes for array in decoded.values())
        if size <= SMALL_BYTES and self._held < HELD_BYTES:
            self._held += size
            return decoded
        path = Path(self._folder.name) / f"{len(self._read)}.decoded"
        save_file(decoded, path)
        return map_weights(path, key, self._resident.watch)

    @cached_property
    def _folder(self) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="fedstream-", ignore_cleanup_errors=True)

    def __enter__(self) -> Downloads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resident.end()
        self._read.clear()
        if "_folder" in self.__dict__:
            self._folder.cleanup()


def map_weights(path: Path, where: str, watch: Callable[[mmap.mmap], None] | None = None) -> Weights:
    """Return the weights in a safetensors file as read-only arrays that are mapped from it.

    Args:
        path: the file, which must not change.
        where: key of the object, for the message.
        watch: called with the mapping; None if nobody cares how much of it is in memory.

    Raises:
        CorruptObject: the file is not valid safetensors.
    """

    def mapped() -> np.ndarray:
        with safe_open(path, framework="np"):  # checks that the sizes and offsets in the header fit the file
            pass
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if watch:
            watch(mapping)
        return np.frombuffer(mapping, np.uint8)

    return _arrays(mapped, where)


def view_weights(data: bytes, where: str) -> Weights:
    """Return the weights in safetensors bytes as read-only views of the bytes.

    Args:
        data: the bytes.
        where: key of the object, for the message.

    Raises:
        CorruptObject: the bytes are not valid safetensors.
    """

    def checked() -> np.ndarray:
        deserialize(data)  # type: ignore[no-untyped-call]
        return np.frombuffer(data, np.uint8)

    return _arrays(checked, where)


def _arrays(read: Callable[[], np.ndarray], where: str) -> Weights:
    try:
        content = read()
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8:start].tobytes())
        header.pop("__metadata__", None)
        return {name: _array(content[start:], **header[name]) for name in sorted(header)}
    except (SafetensorError, KeyError, ValueError, TypeError, OSError, RecursionError) as error:
        raise CorruptObject(
            f"{where} holds no valid safetensors ({error}); it is damaged, or was not written by fedstream"
        ) from error


def _array(data: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    begin, end = data_offsets
    return data[begin:end].view(_DTYPES[dtype]).reshape(shape)
