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

CHUNK = 2**20
"""Rows that are added at once: at most 2**29 numbers below 2**24 have an exact sum."""


def exact_sums(values: NDArray[np.float32]) -> tuple[list[Fraction], list[Fraction]]:
    """Return the exact sum of each column, and the exact sum of its squares.

    Args:
        values: Shape (n, k). Values that are not finite count as 0.
    """
    columns = values.shape[1]
    sums, squares = [Fraction(0)] * columns, [Fraction(0)] * columns
    for start in range(0, len(values), CHUNK):
        _add(values[start : start + CHUNK], sums, squares)
    return sums, squares


def _add(values: NDArray[np.float32], sums: list[Fraction], squares: list[Fraction]) -> None:
    finite = np.where(np.isfinite(values), values, np.float32(0)).astype(np.float64)
    fraction, exponents = np.frexp(finite)
    whole = np.ldexp(fraction, DIGITS).astype(np.int64)
    lowest = int(exponents.min()) if exponents.size else 0
    span = int(exponents.max()) - lowest + 1 if exponents.size else 1
    cell = (np.arange(values.shape[1]) * span + (exponents - lowest)).reshape(-1)
    square = whole * whole
    high, low = square >> DIGITS, square & ((1 << DIGITS) - 1)
    tables = [
        np.bincount(cell, weights=part.reshape(-1), minlength=values.shape[1] * span).reshape(-1, span)
        for part in (whole, high, low)
    ]
    for column in range(values.shape[1]):
        for place in np.flatnonzero(np.any([table[column] != 0 for table in tables], axis=0)).tolist():
            power = Fraction(2) ** (place + lowest - DIGITS)
            total, upper, lower = (int(table[column, place]) for table in tables)
            sums[column] += total * power
            squares[column] += ((upper << DIGITS) + lower) * power * power
