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

Written = tuple[bytes, datetime]
"""The bytes of an object, and the time at which they were written."""


class Objects(dict[str, Written]):
    """Objects by key, whose keys below a prefix are found without a look at the others."""

    def __init__(self) -> None:
        super().__init__()
        self._sorted: list[str] = []

    def __setitem__(self, key: str, value: Written) -> None:
        if key not in self:
            insort(self._sorted, key)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        del self._sorted[bisect_left(self._sorted, key)]

    def below(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, sorted."""
        first = bisect_left(self._sorted, prefix)
        return list(takewhile(lambda key: key.startswith(prefix), islice(self._sorted, first, None)))


class MemoryStore(Store):
    """Objects in a dictionary, which ends with the process. Several threads can use it.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects = Objects()
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
        part.objects, part._prefix, part._lock = self.objects, self._prefix + prefix, self._lock
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
        with self._lock:
            found = [(key, *self.objects[key]) for key in self.objects.below(self._prefix + prefix)]
        return [ObjectInfo(key.removeprefix(self._prefix), len(data), at) for key, data, at in found]

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        with self._lock:
            there = self.objects.get(self._prefix + key)
            if (sha256_hex(there[0]) if there else None) != etag:
                return False
            self.objects[self._prefix + key] = bytes(data), self._now()
            return True

    def remove(self, key: str) -> None:
        with self._lock:
            if self._prefix + key in self.objects:
                del self.objects[self._prefix + key]
