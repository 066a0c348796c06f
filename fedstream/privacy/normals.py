"""Normal random numbers from a key: unpredictable without it, and with it the same bits on every processor.

The bits are those of SHAKE-256 (FIPS 202), an extendable-output function, since whoever reconstructs the state of a
statistical generator from some of its numbers can subtract the rest. They become normal numbers by Marsaglia's polar
method, which needs only a logarithm and a root. The logarithm is computed here with elementary operations, which IEEE
754 rounds alike everywhere, because those of numpy differ between processors in the last bit.
"""

from __future__ import annotations

import hashlib

import numpy as np

PAIRS = 4096
"""Pairs of uniform numbers drawn at once. The numbers of a key depend on it."""

_HALF_ROOT = 2.0**-0.5
_LN_2 = 0.6931471805599453
_TERMS = 12
"""Terms of the series of the logarithm: the first one left out is below 2**-60 of the result."""


class Normals:
    """The sequence of independent standard normal numbers that belongs to a key.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key, self._draws, self._rest = key, 0, np.empty(0)

    def take(self, count: int) -> np.ndarray:
        """Return the next numbers of the sequence, as float64."""
        parts, held = [self._rest], self._rest.size
        while held < count:
            parts.append(_normals(hashlib.shake_256(self._key + self._draws.to_bytes(8, "big")).digest(16 * PAIRS)))
            self._draws, held = self._draws + 1, held + parts[-1].size
        numbers = np.concatenate(parts)
        self._rest = numbers[count:]
        return numbers[:count]


def _normals(bits: bytes) -> np.ndarray:
    """Return the normal numbers of uniform bits, 8 bytes of which give a number or none.

    Source: Marsaglia and Bray 1964, "A convenient method for generating normal variables".
    """
    uniform = (np.frombuffer(bits, "<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    u, v = uniform.reshape(2, -1)
    squares = u * u + v * v
    inside = (squares < 1.0) & (squares > 0.0)
    u, v, squares = u[inside], v[inside], squares[inside]
    factor = np.sqrt(-2.0 * logarithm(squares) / squares)
    return np.stack((u * factor, v * factor), axis=1).reshape(-1)


def logarithm(values: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of positive float64 numbers, within 3 units in the last place.

    It is e ln 2 + 2 artanh((m - 1) / (m + 1)) of m 2**e, with m between the root of a half and that of two.
    """
    mantissa, exponent = np.frexp(values)
    small = mantissa < _HALF_ROOT
    mantissa, exponent = np.where(small, 2.0 * mantissa, mantissa), exponent - small
    quotient = (mantissa - 1.0) / (mantissa + 1.0)
    square = quotient * quotient
    series = np.full(values.shape, 1.0 / (2 * _TERMS - 1))
    for term in range(_TERMS - 2, -1, -1):
        series = series * square + 1.0 / (2 * term + 1)
    result: np.ndarray = exponent * _LN_2 + 2.0 * quotient * series
    return result
