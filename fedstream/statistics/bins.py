"""A histogram with bins that are the same for every client, so that histograms are added, exactly and in any order.

A bin holds the float32 numbers with the same upper 16 bits: the same sign, exponent and first 8 digits of the
significand (they round towards zero to the same bfloat16). So a bin is at most 2**-7 of its values wide, and its middle
is within 2**-8 of each of them, which is the relative error of a quantile. Masson et al. 2019 ("DDSketch", PVLDB 12)
show that such histograms can be merged without loss; bits instead of logarithms give the same bins on every processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Counted = list[tuple[int, int]]
"""(bin, number of its values) in ascending order, without empty bins."""

HALF = 16
"""Bits of a float32 that a bin leaves open."""


def bins_of(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the bin of each finite value: 0, 1, ... from 0 upwards and -1, -2, ... from -0 downwards."""
    bits = (values + np.float32(0)).view(np.int32)  # -0 becomes 0
    upper = (bits & 0x7FFFFFFF) >> HALF
    return np.where(bits < 0, -1 - upper, upper).astype(np.int32)


def counted(values: NDArray[np.float32]) -> Counted:
    """Return the histogram of finite values."""
    found, counts = np.unique(bins_of(values), return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def merged(histograms: Iterable[Sequence[tuple[int, int]]]) -> Counted:
    """Return the sum of histograms."""
    sums: dict[int, int] = {}
    for histogram in histograms:
        for number, count in histogram:
            sums[number] = sums.get(number, 0) + count
    return sorted(sums.items())


def edges(number: int) -> tuple[float, float]:
    """Return the two ends of a bin, the lower one first."""
    upper = number if number >= 0 else -1 - number
    near, far = np.array([upper << HALF, (upper + 1) << HALF], np.uint32).view(np.float32).tolist()
    return (near, far) if number >= 0 else (-far, -near)


def middle(number: int) -> float:
    """Return the middle of a bin."""
    low, high = edges(number)
    return (low + high) / 2


def quantile(histogram: Sequence[tuple[int, int]], probability: float, low: float, high: float) -> float:
    """Return the least value that at least this part of the values does not exceed, within 2**-8 of it.

    Args:
        histogram: At least one value.
        probability: In (0, 1].
        low: Least value.
        high: Greatest value.
    """
    sums = list(accumulate(count for _, count in histogram))
    wanted = probability * sums[-1]
    place = next(place for place, total in enumerate(sums) if total >= wanted)
    return min(max(middle(histogram[place][0]), low), high)


def shares(histogram: Sequence[tuple[int, int]], low: float, high: float, parts: int) -> list[float]:
    """Return which part of the values lies in each of some parts of [low, high] of the same width, for a picture.

    A bin counts where its middle is.
    """
    counts, total = [0] * parts, sum(count for _, count in histogram)
    for number, count in histogram:
        place = int((min(max(middle(number), low), high) - low) / (high - low) * parts) if high > low else 0
        counts[min(place, parts - 1)] += count
    return [count / total for count in counts]
