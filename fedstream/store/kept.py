"""What a process keeps because it may need it again, within a bound. Knows nothing of runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by a name that holds their digest, so that none is ever out of date; those used last, as many as the bound allows.

    Args:
        limit: bytes of all values together; a larger value is not kept.
        size: bytes of one value.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._values: OrderedDict[str, T] = OrderedDict()
        self._held, self._lock = 0, threading.Lock()

    def get(self, name: str, read: Callable[[], T]) -> T:
        """Return a value; if it is not kept, read it. `read` checks that it has the digest that it is named by."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
                return self._values[name]
        value = read()
        self.put(name, value)
        return value

    def put(self, name: str, value: T) -> None:
        """Keep a value that was just read."""
        with self._lock:
            if name in self._values or self._size(value) > self._limit:
                return
            self._values[name] = value
            self._held += self._size(value)
            while self._held > self._limit:
                self._held -= self._size(self._values.popitem(last=False)[1])
