"""The elementary operations of preprocessing.

Each is written once, with functions that NumPy and keras.ops share: NumPy computes with it, and Keras builds the layers
of the published model from it. All of them work in float32, so both round alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class Operation(Protocol):
    """A step, with its constants for each column, which are broadcast along the last axis."""

    def apply(self, x: Any, xp: Any) -> Any:
        """Return the values after the step.

        Args:
            x: float32, shape (n, *sample).
            xp: `numpy` or `keras.ops`.
        """
        ...


@dataclass(frozen=True)
class Rescale:
    """x * factor + offset."""

    factor: Floats
    offset: Floats

    def apply(self, x: Any, xp: Any) -> Any:
        return xp.add(xp.multiply(x, self.factor), self.offset)


@dataclass(frozen=True)
class Normalise:
    """(x - mean) / deviation."""

    mean: Floats
    deviation: Floats

    def apply(self, x: Any, xp: Any) -> Any:
        return xp.divide(xp.subtract(x, self.mean), self.deviation)


@dataclass(frozen=True)
class Fill:
    """NaN becomes the value, which is NaN itself for columns that stay as they are."""

    value: Floats

    def apply(self, x: Any, xp: Any) -> Any:
        return xp.where(xp.isnan(x), self.value, x)


@dataclass(frozen=True)
class Truncate:
    """Where `chosen`, x without its fraction and within [low, high]. NaN stays NaN."""

    chosen: Flags
    low: Floats
    high: Floats

    def apply(self, x: Any, xp: Any) -> Any:
        return xp.where(self.chosen, xp.minimum(xp.maximum(xp.trunc(x), self.low), self.high), x)


@dataclass(frozen=True)
class Differ:
    """Where `chosen`, 1 for every number but 0, as a cast to bool. NaN stays NaN."""

    chosen: Flags

    def apply(self, x: Any, xp: Any) -> Any:
        one = np.float32(1)
        return xp.where(self.chosen, xp.where(xp.equal(x, np.float32(0)), x, xp.where(xp.isnan(x), x, one)), x)


@dataclass(frozen=True)
class Encode:
    """Column i is `source[i]` of x or, where `encoded`, whether that is `category[i]`: 1 or 0."""

    source: NDArray[np.int32]
    encoded: Flags
    category: Floats

    def apply(self, x: Any, xp: Any) -> Any:
        taken = xp.take(x, self.source, axis=-1)
        same = xp.where(xp.equal(taken, self.category), np.float32(1), np.float32(0))
        return xp.where(self.encoded, same, taken)


@dataclass(frozen=True)
class Expand:
    """A scalar becomes a vector of one value, so that it has a column to encode."""

    def apply(self, x: Any, xp: Any) -> Any:
        return xp.expand_dims(x, axis=-1)
