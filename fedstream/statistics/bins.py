"""A histogram with bins that are the same for every client, so that histograms are added, exactly and in any order.

A bin holds the float32 numbers that round to the same bfloat16, which has the same exponent and 8 significant bits. The
bin stands for that number, which is within 2**-8 of each value in it, relative to the value: that is the error of a
quantile. Whole numbers up to 256 have bins of their own. Masson et al. 2019 ("DDSketch", PVLDB 12) show that such
histograms can be merged without loss; rounding instead of logarithms gives the same bins on every processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Counted = list[tuple[int, int]]
"""(bin, number of its values) in ascending order, without empty bins."""

LOWER = 16
"""Bits of a float32 that a bfloat16 lacks."""

LARGEST = 0x7F7FFFFF
"""The bits of the largest finite float32."""


def bins_of(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the bin of each finite value: 0 for 0, positive numbers upwards from there and negative ones downwards.

    Values are rounded to the nearest bfloat16, and those in the middle of two to the even one.
    """
    bits = values.view(np.int32)
    magnitude = bits & 0x7FFFFFFF
    upper = (magnitude + 0x7FFF + ((magnitude >> LOWER) & 1)) >> LOWER
    return np.where(bits < 0, -upper, upper).astype(np.int32)


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
    """Return the least and the greatest number that a bin can hold, or numbers just beyond them."""
    if number < 0:
        low, high = edges(-number)
        return -high, -low
    centre, half = number << LOWER, 1 << (LOWER - 1)
    return (-_float(half) if number == 0 else _float(centre - half)), _float(min(centre + half, LARGEST))


def value_of(number: int) -> float:
    """Return the number that a bin stands for."""
    return math.copysign(_float(abs(number) << LOWER), number)


def _float(bits: int) -> float:
    return float(np.array(bits, np.uint32).view(np.float32))


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
    return min(max(value_of(histogram[place][0]), low), high)
