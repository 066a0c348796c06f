"""Gaussian noise on what a client sends, so that it hardly depends on any one of its records.

Every feature has bounds, and values beyond them count as the bound. In units of its bounds, u = (value - low) / (high -
low) is in [0, 1], so replacing one record changes the number of missing values, the sum of u and the sum of its squares
by at most 1 each for every value that a record has of the feature. With noise, a client sends nothing else: no range,
no histogram and no class counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.privacy.mechanism import grid_of
from fedstream.privacy.normals import Normals
from fedstream.record.statistics import FeatureSums, Statistics, to_text
from fedstream.statistics.measure import tables_of

SUMS = 3
"""Numbers that a client sends about a feature: missing values, sum, sum of squares."""


def deviation(asked: Statistics, sizes: Mapping[str, int]) -> float:
    """Return the standard deviation of the noise on each number, in units of the bounds.

    Args:
        asked: What the run asks for, with noise.
        sizes: Feature -> number of its values in one record.
    """
    return asked.noise_multiplier * math.sqrt(SUMS * sum(size * size for size in sizes.values()))


def noised(
    x: NDArray[Any], names: list[str], asked: Statistics, sizes: Mapping[str, int], normals: Normals
) -> list[FeatureSums]:
    """Return the sums of each feature with noise.

    Args:
        x: Samples (n, *shape).
        names: Names of the columns of flat samples; empty if they have none.
        asked: What the run asks for: bounds and the multiplier of the noise.
        sizes: Feature -> number of its values in one record.
        normals: The noise, consumed in the order of the features.
    """
    std = deviation(asked, sizes)
    return [
        _noised(name, table[:, place], asked.bounds[name], std, normals)
        for own, table in tables_of(x, names)
        for place, name in enumerate(own)
    ]


def _noised(
    name: str, values: NDArray[np.float32], bounds: tuple[float, float], std: float, normals: Normals
) -> FeatureSums:
    low, high = bounds
    known = values[np.isfinite(values)].astype(np.float64)
    units = (np.clip(known, low, high) - low) / (high - low)
    # Sums of whole steps are exact, so they do not depend on the order. Truncation never makes a number larger.
    grid = grid_of(std)
    exact = (len(values) - len(known), *(int(np.floor(part / grid).sum()) for part in (units, units * units)))
    noise = normals.take(SUMS) * std
    missing = min(max(exact[0] + round(noise[0]), 0), len(values))
    total, squares = (
        Fraction(steps + round(extra / grid)) * Fraction(grid)
        for steps, extra in zip(exact[1:], noise[1:], strict=True)
    )
    count, start, width = len(values) - missing, Fraction(low), Fraction(high) - Fraction(low)
    return FeatureSums(
        name=name,
        count=count,
        missing=missing,
        total=to_text(start * count + width * total),
        squares=to_text(start * start * count + 2 * start * width * total + width * width * squares),
    )
