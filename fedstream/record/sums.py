"""Sums that every processor computes alike."""

from __future__ import annotations

import numpy as np


def total(values: np.ndarray) -> float:
    """Return the sum of numbers by halves, with elementwise additions, which every processor rounds alike.

    Args:
        values: one-dimensional, float64.
    """
    sums, size = values.copy(), values.size
    while size > 1:
        half = (size + 1) // 2
        sums[: size - half] += sums[half:size]
        size = half
    return float(sums[0]) if size else 0.0
