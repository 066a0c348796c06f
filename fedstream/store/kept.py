"""A bounded cache of values that a process may need again. This module knows nothing of runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A least-recently-used cache.

    The name of each value contains its digest, so a value is never out of date.

    Args:
        limit: Maximum size of all values together, in bytes; a single value larger than this is not kept.
        size: Returns the size of a value in bytes.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._values: OrderedDict[str, T] = OrderedDict()
        self._held, self._lock = 0, threading.Lock()

    def get(self, name: str, read: Callable[[], T]) -> T:
        """Return a value, and read it first if it is not kept.

        `read` checks that the value matches the digest in its name.
        """
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
                return self._values[name]
        value = read()
        self.put(name, value)
        return value

    def peek(self, name: str) -> T | None:
        """Return a value if it is kept."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def drop(self, name: str) -> None:
        """Keep a value no longer."""
        with self._lock:
            if name in self._values:
                self._held -= self._size(self._values.pop(name))

    def put(self, name: str, value: T) -> None:
        """Keep a value that was just read, and drop the least recently used ones beyond the limit."""
        with self._lock:
            if name in self._values or self._size(value) > self._limit:
                return
            self._values[name] = value
            self._held += self._size(value)
            while self._held > self._limit:
                self._held -= self._size(self._values.popitem(last=False)[1])
