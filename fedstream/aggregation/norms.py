"""Euclidean norms of differences between models, which every processor computes alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from fedstream.aggregation.updates import as_sent, reader
from fedstream.record.sums import total

BLOCK = 2**16
"""Values compared at a time, so that the float64 copies stay in the processor's cache."""


def distance(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """Return the norm of the difference between two models over all floating variables.

    Differences and squares are computed element by element in float64, and added by halves. They are scaled by the
    largest difference of a block, so that squares neither overflow nor vanish.

    Args:
        one: name -> array.
        other: the same names, shapes and dtypes.

    Returns:
        The norm; infinity where a difference of float64 values is.
    """
    norms = []
    for name, array in sorted(as_sent(one).items()):
        if np.issubdtype(array.dtype, np.floating):
            first, second = reader(one, name), reader(other, name)
            for at in range(0, array.size, BLOCK):
                norms.append(_norm(_difference(first, second, slice(at, at + BLOCK))))
    return _norm(np.array(norms))


def _difference(first: Callable[[slice], np.ndarray], second: Callable[[slice], np.ndarray], part: slice) -> np.ndarray:
    with np.errstate(over="ignore"):  # float64 weights can be that far apart; the norm is then infinite
        difference: np.ndarray = np.subtract(first(part), second(part), dtype=np.float64)
    return difference


def _norm(values: np.ndarray) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest * math.sqrt(total(np.square(values / largest))) if 0 < largest < np.inf else largest
