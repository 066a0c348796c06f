"""A store in the memory of this process: for tests, notebooks and simulations."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile

from fedstream.errors import ObjectNotFound
from fedstream.record.canonical import sha256_hex
from fedstream.store.store import PIECE_BYTES, ObjectInfo, Store, T

Objects = dict[str, tuple[bytes, datetime]]
"""key -> bytes, and the time at which they were written"""


class MemoryStore(Store):
    """Objects in a dictionary, which ends with the process. Several threads can use it.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects: Objects = {}
        self._keys: list[str] = []  # sorted
        self._now, self._prefix, self._lock = now, "", threading.Lock()

    @property
    def name(self) -> str:
        return "the store in memory"

    def uri(self, key: str) -> str:
        return f"memory:{self._prefix}{key}"

    def check(self) -> None:
        pass

    def within(self, prefix: str) -> MemoryStore:
        part = MemoryStore(self._now)
        part.objects, part._keys, part._lock = self.objects, self._keys, self._lock
        part._prefix = self._prefix + prefix
        return part

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        try:
            data = self.objects[self._prefix + key][0]
        except KeyError as error:
            raise ObjectNotFound(f"there is no object {self._prefix + key!r} in {self.name}") from error
        return data if limit is None else data[: limit + 1], sha256_hex(data)

    def read(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        data = self.get(key)
        return take(data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))

    def exists(self, key: str) -> bool:
        return self._prefix + key in self.objects

    def list(self, prefix: str) -> list[ObjectInfo]:
        start = self._prefix + prefix
        with self._lock:
            first = bisect_left(self._keys, start)
            keys = list(takewhile(lambda key: key.startswith(start), islice(self._keys, first, None)))
            found = [(key, *self.objects[key]) for key in keys]
        return [ObjectInfo(key.removeprefix(self._prefix), len(data), at) for key, data, at in found]

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        with self._lock:
            there = self.objects.get(self._prefix + key)
            if (sha256_hex(there[0]) if there else None) != etag:
                return False
            if there is None:
                insort(self._keys, self._prefix + key)
            self.objects[self._prefix + key] = bytes(data), self._now()
            return True

    def remove(self, key: str) -> None:
        with self._lock:
            if self.objects.pop(self._prefix + key, None):
                del self._keys[bisect_left(self._keys, self._prefix + key)]
