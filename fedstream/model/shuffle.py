"""The order in which a training visits its records: that of `tf.data.Dataset.shuffle`, computed without TensorFlow.

A pipeline of TensorFlow takes milliseconds to set up, which is as long as a small client trains. The numbers are those
of TensorFlow's kernels: RandomSeedGenerator and ShuffleDatasetOp of tensorflow/core/kernels/data, and PhiloxRandom of
tensorflow/core/lib/random.

More records than fit into a window are shuffled in two levels, like CorgiPile (Xu et al., In-Database Machine Learning
with CorgiPile, SIGMOD 2022): blocks of consecutive records in a random order, and then the records of WINDOW_BLOCKS
blocks among each other. A stream can be read in this order, so it is the order of records in memory too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
ROUNDS, LOW = 10, 0xFFFFFFFF
"""Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011, section 3.3)."""

Word: TypeAlias = Any
"""A number below 2**32, or an array of them (uint64)."""


WINDOW_BLOCKS = 16
"""Number of blocks whose records are shuffled among each other."""


@dataclass(frozen=True)
class ShuffledBlocks:
    """A window of an epoch.

    Attributes:
        blocks: Numbers of the blocks, in the order in which they are read.
        number: Number of the window in its epoch.
        seeds: Seeds of the epoch.
    """

    blocks: NDArray[np.int64]
    number: int
    seeds: tuple[int, int]

    def shuffled(self, index: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the records of the window in the order of training.

        Args:
            index: Numbers of the records to train on, block by block.
        """
        return _shuffled(index, philox(*self.seeds, len(index), self.number))


def orders(
    index: NDArray[np.intp], seed: int, epochs: int, edges: NDArray[np.intp] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield the record numbers of each epoch.

    If all blocks are in one window, this is the order of Keras' `fit`: that of a data set of the index, shuffled with a
    buffer of all records and the seed (seed, seed) of the kernel. `fit` starts a pass after each epoch and drops it, so
    an epoch has the order of every second pass.

    Args:
        index: Record numbers, shape (n,), ascending, at least one.
        seed: Seed, in [0, 2**31).
        epochs: Number of epochs.
        edges: Numbers of the first records of the blocks, and the number of all records; None for a single block.
    """
    own = [index] if edges is None else np.split(index, np.searchsorted(index, edges[1:-1]))
    for windows in epochs_of_blocks(len(own), seed, epochs):
        yield np.concatenate(
            [window.shuffled(np.concatenate([own[block] for block in window.blocks])) for window in windows]
        )


def epochs_of_blocks(count: int, seed: int, epochs: int) -> Iterator[list[ShuffledBlocks]]:
    """Yield the windows of each epoch.

    Args:
        count: Number of blocks, at least one.
        seed: Seed, in [0, 2**31).
        epochs: Number of epochs.
    """
    seeds = philox(seed, seed, 4 * epochs).reshape(epochs, 4).tolist()
    for first, second, third, fourth in seeds:
        blocks = np.arange(count, dtype=np.int64)
        if count > WINDOW_BLOCKS:
            blocks = _shuffled(blocks, philox(third, fourth, count))
        yield [
            ShuffledBlocks(blocks[start : start + WINDOW_BLOCKS], number, (first, second))
            for number, start in enumerate(range(0, count, WINDOW_BLOCKS))
        ]


def philox(seed: int, seed2: int, count: int, stream: int = 0) -> NDArray[np.uint32]:
    """Return the first numbers of TensorFlow's PhiloxRandom(seed, seed2), uint32 (count,).

    Args:
        seed: Seed of the graph.
        seed2: Seed of the operation.
        count: Number of numbers.
        stream: Which of the independent sequences of these seeds: the second word of the counter.
    """
    low, high = seed2 & LOW, seed2 >> 32
    if count <= 4:
        return np.array(_block(0, stream, low, high, seed)[:count], np.uint32)
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    zeros = np.zeros_like(blocks)
    words = np.stack(_block(blocks, zeros + stream, zeros + low, zeros + high, seed), axis=1)
    return words.ravel()[:count].astype(np.uint32)


def _block(zero: Word, one: Word, two: Word, three: Word, seed: int) -> tuple[Word, Word, Word, Word]:
    """Return the four numbers of a counter, or of an array of counters."""
    key, key2 = seed & LOW, seed >> 32
    for _ in range(ROUNDS):
        first, second = zero * MULTIPLIERS[0], two * MULTIPLIERS[1]
        zero, one, two, three = second >> 32 ^ one ^ key, second & LOW, first >> 32 ^ three ^ key2, first & LOW
        key, key2 = (key + WEYL[0]) & LOW, (key2 + WEYL[1]) & LOW
    return zero, one, two, three


def _shuffled(index: NDArray[np.integer], numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the index in the order in which random numbers draw from it (Fisher and Yates)."""
    left = index.astype(np.int64).tolist()
    offsets = (numbers % np.arange(len(left), 0, -1, dtype=np.uint32)).tolist()
    for at, offset in enumerate(offsets):
        left[at], left[at + offset] = left[at + offset], left[at]
    return np.array(left, np.int64)
