"""Summarise the samples of a slice. Pure numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.record.summary import FEWEST, GROUPS, Summary

DIGITS = 9
"""Significant digits of a summary."""


def summary_of(samples: NDArray[Any]) -> Summary | None:
    """Return the summary of a slice's samples.

    Args:
        samples: Shape (n, ...), of any dtype.

    Returns:
        The summary; None if there are fewer than FEWEST samples, or if they are not finite numbers.
    """
    if (
        len(samples) < FEWEST
        or not samples.size
        or not (np.issubdtype(samples.dtype, np.number) or samples.dtype == np.bool_)
    ):
        return None
    flat = samples.reshape(len(samples), -1)
    groups = np.array_split(np.arange(flat.shape[1]), min(GROUPS, flat.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [flat[:, group].astype(np.float64) for group in groups]
        means, variances = [float(part.mean()) for part in parts], [float(part.var()) for part in parts]
    if not np.isfinite([*means, *variances]).all():
        return None
    return Summary(means=list(map(_rounded, means)), variances=list(map(_rounded, variances)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
