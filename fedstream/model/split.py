"""Which records of a slice are held out for validation. Pure numpy; must not know Kafka or TensorFlow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import UsageError

Words = NDArray[np.uint64]


def split_mask(
    seed: int, partitions: NDArray[np.integer], offsets: NDArray[np.integer], rate: float
) -> NDArray[np.bool_]:
    """Say for each record whether it is held out.

    The result depends only on the seed and on the record's partition and offset. Thus a record never changes sides when
    the stream grows, and a larger rate holds out the same records and more.

    Args:
        seed: of the split, in [0, 2**64).
        partitions: Shape (n,); Kafka partition of each record.
        offsets: Shape (n,); Kafka offset of each record.
        rate: expected part to hold out, in [0, 1).

    Returns:
        Shape (n,); true where a record is held out.

    Raises:
        UsageError: the rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise UsageError(f"the held-out rate is {rate}, expected a number from 0 to less than 1")
    start = _mix(np.asarray([seed], dtype=np.uint64))
    words = _mix(_mix(start ^ np.asarray(partitions).astype(np.uint64)) ^ np.asarray(offsets).astype(np.uint64))
    return (words >> np.uint64(11)) < np.uint64(int(rate * 2.0**53))


def _mix(words: Words) -> Words:
    """One step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
