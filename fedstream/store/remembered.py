"""A store that remembers what this process has written to it or read from it.

The objects of runs are written once, so what is remembered stays true. The steps of a round read most of them again:
through a server, these requests take longer than training a small client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fedstream.record.layout import RUNS
from fedstream.store.kept import Kept
from fedstream.store.store import PIECE_BYTES, ObjectInfo, Store, T

REMEMBERED_BYTES = 64 * 1024 * 1024
"""Maximum number of bytes that are remembered."""

LARGEST_BYTES = 8 * 1024 * 1024
"""Maximum number of bytes of an object that is remembered; larger ones take longer to hash than to ask for."""


class Remembered(Store):
    """Another store, without repeated requests for the objects of runs.

    That an object is missing is never remembered, because another process can write it. Listings are never remembered,
    and neither are objects outside runs, some of which are replaced.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._objects: Kept[bytes] = Kept(REMEMBERED_BYTES, len)

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def access(self) -> Mapping[str, str]:
        return self._store.access

    def uri(self, key: str) -> str:
        return self._store.uri(key)

    def check(self) -> None:
        self._store.check()

    def within(self, prefix: str) -> Store:
        return self._store.within(prefix)

    def get(self, key: str, limit: int | None = None) -> bytes:
        known = self._objects.peek(key)
        if known is not None and (limit is None or len(known) <= limit):
            return known
        data = self._store.get(key, limit)
        self._remember(key, data)
        return data

    def get_with_etag(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        return self._store.get_with_etag(key, limit)

    def read(self, key: str, take: Callable[[Iterator[bytes]], T]) -> T:
        known = self._objects.peek(key)
        if known is None:
            return self._store.read(key, take)
        return take(known[start : start + PIECE_BYTES] for start in range(0, len(known), PIECE_BYTES))

    def exists(self, key: str) -> bool:
        return self._objects.peek(key) is not None or self._store.exists(key)

    def list(self, prefix: str) -> list[ObjectInfo]:
        return self._store.list(prefix)

    def folders(self, prefix: str) -> Sequence[str]:
        return self._store.folders(prefix)

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        written = self._store.put_if_match(key, data, etag)
        if written and etag is None:
            self._remember(key, data)
        return written

    def remove(self, key: str) -> None:
        self._objects.drop(key)
        self._store.remove(key)

    def _remember(self, key: str, data: bytes) -> None:
        if key.startswith(RUNS) and len(data) <= LARGEST_BYTES:
            self._objects.put(key, data)
