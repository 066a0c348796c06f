"""Weights of clients other than their numbers of examples: exact powers, whole weights, and what all of them report."""

from __future__ import annotations

import decimal
import statistics
from collections.abc import Sequence

import numpy as np

from fedstream.aggregation.updates import Updates
from fedstream.errors import UpdateError
from fedstream.record.extras import ArraySpec

SCALAR = ArraySpec((), "float64")
"""An extra array that is one number."""

LARGEST = 2**40
"""The largest whole weight. Rounding a weight moves the mean by less than 1e-12 of the distance between two models."""

DIGITS = 40
"""Digits of a power. After rounding to float64, no platform's library of mathematics matters."""


def power(base: float, exponent: float) -> float:
    """Return base ** exponent, computed in decimal arithmetic, so that every platform has the same result.

    Args:
        base: at least 0, and above 0 if the exponent is 0.
        exponent: at least 0.
    """
    with decimal.localcontext(decimal.Context(prec=DIGITS)):
        return float(decimal.Decimal(base) ** decimal.Decimal(exponent))


def geometric_sum(ratio: float, terms: int) -> float:
    """Return 1 + ratio + ratio**2 + ..., by doubling, so that nothing cancels.

    Args:
        ratio: from 0 to 1.
        terms: number of terms, at least 0.
    """
    total, next_term = 0.0, 1.0
    for bit in f"{terms:b}":
        total, next_term = total + next_term * total, next_term * next_term
        if bit == "1":
            total, next_term = total + next_term, next_term * ratio
    return total


def whole_weights(weights: Sequence[float]) -> list[int]:
    """Return whole numbers from 1 to LARGEST in the proportions of some weights.

    Args:
        weights: finite numbers of at least 0, one of them above 0.
    """
    largest = max(weights)
    return [max(1, round(weight / largest * LARGEST)) for weight in weights]


def reported(updates: Updates, name: str) -> float:
    """Return the median of a positive number that all clients of a run report alike, such as their learning rate.

    A minority that reports another number therefore changes nothing.

    Raises:
        UpdateError: no client reports a number above 0.
    """
    numbers = [number for update in updates if (number := float(np.asarray(update.extras[name])[()])) > 0]
    if not numbers:
        raise UpdateError(f"no client reports a {name.replace('_', ' ')} above 0; the round cannot be aggregated")
    return statistics.median_low(numbers)
