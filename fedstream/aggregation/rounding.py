"""Weighted means of a few columns, correctly rounded for all values.

The computation is vectorised where twice the precision of float64 suffices, and uses integers elsewhere.

Notation: u = 2**-53 is the unit roundoff of float64, S the exact weighted sum of a column, and N the sum of the counts.
The result is S / N, rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Array = np.ndarray

_DIGIT = 26
"""Bits of a count that are multiplied at once; the product with a value of 27 bits is exact in float64."""
_LOW_BITS = np.int64((1 << _DIGIT) - 1)
_SPLITTER = 2.0**27 + 1.0
"""Veltkamp's constant, which splits a float64 into two halves whose products are exact."""
_LARGEST_TOTAL = 2**52
_SMALLEST = 2.0**-1074


def rounded_means(values: Sequence[Array], counts: Sequence[int], columns: Array) -> Array:
    """Return the weighted means of some columns, correctly rounded.

    Means are rounded to nearest, ties to even, to the dtype of the values. A mean of exactly zero is -0.0 where all
    values are -0.0, and +0.0 otherwise, as a sum is in IEEE 754.

    Args:
        values: of each update, one-dimensional, of one length and of dtype float16, float32 or float64; all finite.
        counts: weight of each update, at least 1.
        columns: indices into the values.
    """
    dtype, total = values[0].dtype, sum(counts)
    with np.errstate(over="ignore", invalid="ignore"):
        quotient, rest, error = _compensated(values, counts, columns, total)
        moves = (quotient + (rest - error) != quotient) | (quotient + (rest + error) != quotient)
    unknown = (moves if dtype == np.float64 else np.abs(rest) <= error) & (error != 0)
    side = np.sign(rest)
    if (index := np.flatnonzero(unknown | ~np.isfinite(quotient))).size:
        quotient[index], side[index] = _by_integers(values, counts, columns[index], total)
    return quotient if dtype == np.float64 else _to_odd(quotient, side).astype(dtype)


def _compensated(
    values: Sequence[Array], counts: Sequence[int], columns: Array, total: int
) -> tuple[Array, Array, Array]:
    """Return q, w and a bound of |S / N - (q + w)|, where q is the float64 nearest to q + w.

    Where a sum overflows, q is not finite. The sums follow Ogita, Rump and Oishi (2005), with Knuth's error-free
    addition; the exact remainder corrects the division.
    """
    sums, carries, dropped = np.full(columns.size, -0.0), np.zeros(columns.size), np.zeros(columns.size)
    for value, count in zip(values, counts, strict=True):
        for product in _products(value[columns], count):
            sums, carry = _two_sum(sums, product)
            carries, lost = _two_sum(carries, carry)
            dropped += np.abs(lost)
    zero = (sums == 0) & (carries == 0) & (dropped == 0)
    high, low = _two_sum(sums, carries)
    divisor = float(total) if total <= _LARGEST_TOTAL else np.nan
    quotient = high / divisor
    product, rounding = _two_product(quotient, divisor)
    remainder, lost = _two_sum((high - product) - rounding, low)
    rest = remainder / divisor
    exact = (lost == 0) & (dropped == 0) & (total & (total - 1) == 0)
    error = 2 * dropped / divisor + np.where(exact, 0.0, 2.0**-51 * np.abs(rest))
    if values[0].dtype == np.float64:
        error += _SMALLEST  # a quotient of float64 values can underflow
    quotient, rest = _two_sum(quotient, rest)
    quotient[zero], rest[zero], error[zero] = sums[zero], 0.0, 0.0
    return quotient, rest, error


def _products(value: Array, count: int) -> Iterator[Array]:
    """Yield float64 arrays whose sum is exactly value * count."""
    whole = value.astype(np.float64)
    parts = [whole]
    if value.dtype == np.float64:
        high = (whole.view(np.int64) & ~_LOW_BITS).view(np.float64)
        parts = [high, np.copysign(whole - high, whole)]
    for shift in range(0, count.bit_length(), _DIGIT):
        if digit := count >> shift & int(_LOW_BITS):
            for part in parts:
                yield part * float(digit << shift)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b, rounded, and the exact rounding error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _two_product(a: Array, b: float) -> tuple[Array, Array]:
    """Return a * b, rounded, and the exact rounding error."""
    product = a * b
    scaled, scaled_b = _SPLITTER * a, _SPLITTER * b
    high, high_b = scaled - (scaled - a), scaled_b - (scaled_b - b)
    low, low_b = a - high, b - high_b
    return product, low * low_b - (((product - high * high_b) - low * high_b) - high * low_b)


def _by_integers(
    values: Sequence[Array], counts: Sequence[int], columns: Array, total: int
) -> tuple[list[float], list[int]]:
    """Return the float64 nearest to each S / N, and the side on which S / N lies: -1, 0 or 1.

    Sums are integers, in units of 2**-1074.
    """
    sums = [0] * columns.size
    for value, count in zip(values, counts, strict=True):
        for column, number in enumerate(value[columns].tolist()):
            numerator, denominator = number.as_integer_ratio()
            sums[column] += count * numerator << (1075 - denominator.bit_length())
    scale, quotients, sides = total << 1074, [], []
    for summed in sums:
        quotient = summed / scale
        numerator, denominator = quotient.as_integer_ratio()
        left = summed * denominator - numerator * scale
        quotients.append(quotient)
        sides.append((left > 0) - (left < 0))
    return quotients, sides


def _to_odd(quotient: Array, side: Array) -> Array:
    """Round to odd, so that another rounding, to fewer bits, is correct.

    Where S / N lies beyond an even float64, the result is the neighbour on that side.
    """
    inexact = (side != 0) & (quotient.view(np.int64) & 1 == 0)
    return np.where(inexact, np.nextafter(quotient, np.copysign(np.inf, side)), quotient)
