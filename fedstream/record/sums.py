"""Sums that every processor computes alike."""

from __future__ import annotations

import numpy as np

ROW = 256
"""Number of sums that are kept beside each other; a row of them stays in the fastest cache."""


def total(values: np.ndarray) -> float:
    """Return the sum of numbers with elementwise additions, which every processor rounds alike.

    Rows are added to each other first, then the halves of what is left. The sum along an array, or a dot product, has
    an order of its own on each kind of processor.

    Args:
        values: one-dimensional, float64.
    """
    rows = values.size // ROW
    sums = np.concatenate([values[: rows * ROW].reshape(rows, ROW).sum(axis=0), values[rows * ROW :]])
    size = sums.size
    while size > 1:
        half = (size + 1) // 2
        sums[: size - half] += sums[half:size]
        size = half
    return float(sums[0]) if size else 0.0
