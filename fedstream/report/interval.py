"""The uncertainty of a measured share: Wilson's 95 % interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedstream.text import clean, score

Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""

METHOD = "95 % confidence intervals by the Wilson method, which assumes independent records; losses have none."


def wilson(share: float, records: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927).

    Args:
        share: Share of correct records, in [0, 1].
        records: Number of records, at least 1.

    Returns:
        The lower and upper end, in [0, 1].
    """
    middle = (share + Z * Z / (2 * records)) / (1 + Z * Z / records)
    half = Z / (1 + Z * Z / records) * math.sqrt(share * (1 - share) / records + Z * Z / (4 * records * records))
    return max(0.0, middle - half), min(1.0, middle + half)


def is_share(metric: str) -> bool:
    """Return whether a metric is a share of records, such as `sparse_categorical_accuracy`."""
    return "accuracy" in metric.lower()


def interval(metric: str, value: float, records: int) -> str:
    """Format the interval of a metric: `0.8123–0.9012`; empty if there is none."""
    if not is_share(metric) or not 0 <= value <= 1 or records < 1:
        return ""
    low, high = wilson(value, records)
    return f"{score(low)}–{score(high)}"


def class_name(names: Sequence[str], label: int | str) -> str:
    """Return the name of a class, which is its label if no name was announced."""
    text = str(label)
    number = int(text) if text.isdecimal() and len(text) < 10 else len(names)
    return clean(names[number]) if number < len(names) else clean(text)
