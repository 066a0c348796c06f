"""Records that are read anew in every pass, because they are larger than memory.

A pass needs the memory of three windows: one in training, its tensor, and one that is being read meanwhile. The order
of training, and with it every digest, is that of the same records in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError
from fedstream.model.examples import Examples, Window
from fedstream.model.shuffle import ShuffledBlocks, epochs_of_blocks

T = TypeVar("T")

Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""Samples and labels."""

Split: TypeAlias = tuple[int, int]
"""Number of records of a block that are trained on, and that are held out."""


@dataclass(frozen=True)
class ExampleStream:
    """A client's records, block by block.

    Attributes:
        splits: How each block is split. All blocks but the last have as many records as Examples.block.
        read: Returns the records of a block, the same ones each time.
    """

    splits: Sequence[Split]
    read: Callable[[int], Examples]

    def count(self, *, held_out: bool) -> int:
        """Return the number of records that are held out, or of those that are trained on."""
        return sum(split[held_out] for split in self.splits)

    def parts(self, *, held_out: bool) -> Iterator[Arrays]:
        """Yield the samples and labels of these records, in their order, as they come into memory."""
        wanted = [number for number, split in enumerate(self.splits) if split[held_out]]
        for block in ahead(self.read(number) for number in wanted):
            yield from block.parts(held_out=held_out)

    def epochs(self, seed: int, epochs: int, batch_size: int) -> Iterator[Iterator[Window]]:
        """Yield the windows of each epoch, whose batches are those of the same records in memory.

        Args:
            seed: Seed of the order, in [0, 2**31).
            epochs: Number of epochs.
            batch_size: Number of records in a batch.
        """
        for windows in epochs_of_blocks(len(self.splits), seed, epochs):
            yield ahead(self._windows(windows, batch_size))

    def mapped(self, change: Callable[[Examples], Examples]) -> ExampleStream:
        """Return the stream with each block changed. The split must stay the same."""
        return replace(self, read=lambda number: change(self.read(number)))

    def _windows(self, windows: list[ShuffledBlocks], batch_size: int) -> Iterator[Window]:
        """Yield windows; the records beyond the last whole batch of one go into the next."""
        left: int = self.count(held_out=False)
        carried: list[Arrays] = []
        for window in windows:
            trained = [number for number in window.blocks.tolist() if self.splits[number][False]]
            if not trained:
                continue
            left -= (new := sum(self.splits[number][False] for number in trained))
            before = len(carried[0][0]) if carried else 0
            parts = (part for number in trained for part in self.read(number).parts(held_out=False))
            x, y = _joined(chain(carried, parts), before + new)
            order = np.concatenate([np.arange(before), window.shuffled(np.arange(before, before + new))])
            whole = len(order) if not left else len(order) // batch_size * batch_size
            carried = [(x[order[whole:]], y[order[whole:]])]
            if whole:
                yield Window(x, y, order[:whole], not left)
            del x, y  # before the next window takes as much


def _joined(parts: Iterable[Arrays], total: int) -> Arrays:
    """Return parts with this many records in all as one, without holding them twice."""
    joined: list[NDArray[Any]] = []
    at = 0
    for part in parts:
        joined = joined or [np.empty((total, *array.shape[1:]), array.dtype) for array in part]
        for array, own in zip(joined, part, strict=True):
            array[at : at + len(own)] = own
        at += len(part[0])
    return joined[0], joined[1]


AnyExamples: TypeAlias = Examples | ExampleStream


def in_memory(examples: AnyExamples, who: str) -> Examples:
    """Return examples whose arrays are needed as a whole.

    Args:
        examples: The examples.
        who: What needs them, for the message.

    Raises:
        ModelError: They are a stream.
    """
    if isinstance(examples, Examples):
        return examples
    raise ModelError(
        f"{who} needs all records in memory, and these are streamed because they are too large; "
        "give the step more memory, raise stream_above_mib, or announce fewer records"
    )


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items, while a thread makes the next one. No item is held here once it is yielded."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, "fedstream-ahead") as pool:
        coming = pool.submit(next, source, end)
        while (made := [coming.result()])[0] is not end:
            coming = pool.submit(next, source, end)
            yield made.pop()  # type: ignore[misc]
