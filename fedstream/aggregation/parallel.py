"""Work on blocks in a few threads, with results in the order of the blocks, so that the threads do not show."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 2
"""Blocks at once. numpy releases the interpreter's lock, and two cores use nearly all of the memory's bandwidth."""

AHEAD = 4
"""Blocks per thread whose results can wait for their turn, which bounds the memory."""


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS) -> Iterator[Result]:
    """Yield the result of each item, in the order of the items.

    Args:
        work: called in several threads at once; what it does must not depend on the other items.
        items: read as the work proceeds.
        threads: items worked on at once; the results do not depend on it. One is the caller's own thread.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
