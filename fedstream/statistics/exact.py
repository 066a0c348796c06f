"""Exact sums of float32 numbers and of their squares.

A float32 is a whole number below 2**24 times a power of two. The whole numbers with the same power are added as
float64, where sums below 2**53 are exact, and the powers then as fractions. So the result is exact, for any numbers and
in any order, at the speed of NumPy.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

DIGITS = 24
"""Bits of the significand of a float32."""

LOWEST, POWERS = -148, 277
"""Smallest exponent of a float32 whose significand is in [0.5, 1), and the number of its exponents."""

CHUNK = 2**18
"""Values that are added at once, which bounds the memory. Up to 2**29 numbers below 2**24 have an exact sum."""


def exact_sums(values: NDArray[np.float32]) -> tuple[list[Fraction], list[Fraction]]:
    """Return the exact sum of each column, and the exact sum of its squares.

    Args:
        values: Shape (n, k). Values that are not finite count as 0.
    """
    columns = values.shape[1]
    tables = np.zeros((3, columns, POWERS), np.int64)
    rows = max(1, CHUNK // max(1, columns))
    for start in range(0, len(values), rows):
        tables += _tables(values[start : start + rows])
    totals = [_fraction(table, 1) for table in tables[0]]
    squares = [_fraction(high, 2) * 2**DIGITS + _fraction(low, 2) for high, low in zip(*tables[1:], strict=True)]
    return totals, squares


def _tables(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return, by column and power of two, the sums of the significands, and of the halves of their squares."""
    fraction, exponents = np.frexp(np.where(np.isfinite(values), values, np.float32(0)).astype(np.float64))
    whole = np.ldexp(fraction, DIGITS).astype(np.int64)
    square = whole * whole
    cells = values.shape[1] * POWERS
    place = (np.arange(values.shape[1]) * POWERS + (exponents - LOWEST)).reshape(-1)
    parts = (whole, square >> DIGITS, square & ((1 << DIGITS) - 1))
    sums = [np.bincount(place, weights=part.reshape(-1), minlength=cells) for part in parts]
    return np.stack(sums).astype(np.int64).reshape(3, values.shape[1], POWERS)


def _fraction(sums: NDArray[np.int64], degree: int) -> Fraction:
    """Return the sum of whole numbers times their powers of two, each of which is raised to the degree."""
    found = np.flatnonzero(sums)
    return sum((int(sums[at]) * Fraction(2) ** (degree * (int(at) + LOWEST - DIGITS)) for at in found), Fraction(0))
