"""The order in which a training visits its records: that of `tf.data.Dataset.shuffle`, computed without TensorFlow.

A pipeline of TensorFlow takes milliseconds to set up, which is as long as a small client trains. The numbers are those
of TensorFlow's kernels: RandomSeedGenerator and ShuffleDatasetOp of tensorflow/core/kernels/data, and PhiloxRandom of
tensorflow/core/lib/random.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
ROUNDS, LOW = 10, 0xFFFFFFFF
"""Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011, section 3.3)."""

Word: TypeAlias = Any
"""A number below 2**32, or an array of them (uint64)."""


def orders(index: NDArray[np.intp], seed: int, epochs: int) -> Iterator[NDArray[np.int64]]:
    """Yield the record numbers of each epoch, in the order of Keras' `fit`.

    That is the order of a data set of the index, shuffled with a buffer of all records and the seed (seed, seed) of the
    kernel. `fit` starts a pass after each epoch and drops it, so an epoch has the order of every second pass.

    Args:
        index: Record numbers, shape (n,), at least one.
        seed: Seed, in [0, 2**31).
        epochs: Number of epochs.
    """
    seeds = philox(seed, seed, 4 * epochs)
    for epoch in range(epochs):
        first, second = (int(word) for word in seeds[4 * epoch : 4 * epoch + 2])
        yield _shuffled(index, philox(first, second, len(index)))


def philox(seed: int, seed2: int, count: int) -> NDArray[np.uint32]:
    """Return the first numbers of TensorFlow's PhiloxRandom(seed, seed2), uint32 (count,)."""
    low, high = seed2 & LOW, seed2 >> 32
    if count <= 4:
        return np.array(_block(0, 0, low, high, seed)[:count], np.uint32)
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    zeros = np.zeros_like(blocks)
    words = np.stack(_block(blocks, zeros, zeros + low, zeros + high, seed), axis=1)
    return words.ravel()[:count].astype(np.uint32)


def _block(zero: Word, one: Word, two: Word, three: Word, seed: int) -> tuple[Word, Word, Word, Word]:
    """Return the four numbers of a counter, or of an array of counters."""
    key, key2 = seed & LOW, seed >> 32
    for _ in range(ROUNDS):
        first, second = zero * MULTIPLIERS[0], two * MULTIPLIERS[1]
        zero, one, two, three = second >> 32 ^ one ^ key, second & LOW, first >> 32 ^ three ^ key2, first & LOW
        key, key2 = (key + WEYL[0]) & LOW, (key2 + WEYL[1]) & LOW
    return zero, one, two, three


def _shuffled(index: NDArray[np.intp], numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the index in the order in which random numbers draw from it (Fisher and Yates)."""
    left = index.astype(np.int64).tolist()
    offsets = (numbers % np.arange(len(left), 0, -1, dtype=np.uint32)).tolist()
    for at, offset in enumerate(offsets):
        left[at], left[at + offset] = left[at + offset], left[at]
    return np.array(left, np.int64)
