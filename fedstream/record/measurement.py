"""Which measurements are plausible.

A value must lie in the range of its metric, and a confusion matrix must count the measured records.
"""

from __future__ import annotations

import math
import re

from fedstream.record.documents import Metrics

LARGEST_METRIC = 1e100
"""No float32 model has a larger metric, and sums of such values over all clients' records stay finite."""

ROUNDING = 1e-6
"""How far float32 sums can exceed the range of a metric."""

RANGES = [
    (r"accuracy|precision|recall|specificity|sensitivity|auc|f1|fbeta|iou|io_u|dice", 0.0, 1.0),
    (r"cosine_similarity|correlation", -1.0, 1.0),
    (r"r2", -math.inf, 1.0),
    (r"error|mse|mae|mape|msle|rmse|hinge", 0.0, math.inf),
]
"""(part of a metric's name, lowest value, highest value).

Keras numbers equal names, as in auc_1. A loss can be negative.
"""


def why_implausible(measured: Metrics, most_records: int, metric: str) -> str:
    """Return why a measurement is not plausible, or an empty string.

    Args:
        measured: the reported measurement.
        most_records: number of records that were available.
        metric: target metric of the run, which must be among the values together with the loss; empty to require
            neither.
    """
    if measured.num_examples > most_records:
        return f"it says it measured on {measured.num_examples} records, but its slice has {most_records}"
    if missing := [name for name in (metric, "loss") if metric and name not in measured.values]:
        return f"it measured no finite {missing[0]}; look for NaN in its records"
    for name, value in sorted(measured.values.items()):
        low, high = _range(name)
        if not low - ROUNDING <= value <= high + ROUNDING:
            return f"its {name} is {value:g}, which no model can score"
    return _why_bad_confusion(measured)


def has_range(name: str) -> bool:
    """Return whether a metric's name, or part of it, says in which range its values lie."""
    return any(re.search(part, name) for part, _, _ in RANGES)


def _range(name: str) -> tuple[float, float]:
    low, high = next(
        ((low, high) for part, low, high in RANGES if not _is_loss(name) and re.search(part, name)),
        (-math.inf, math.inf),
    )
    return max(low, -LARGEST_METRIC), min(high, LARGEST_METRIC)


def _is_loss(name: str) -> bool:
    """Return whether a name is that of a loss: that of the model, or of one of several outputs."""
    return name == "loss" or name.endswith("_loss")


def _why_bad_confusion(measured: Metrics) -> str:
    matrix = measured.confusion
    if matrix is None:
        return ""
    if any(len(row) != len(matrix) for row in matrix):
        return "its confusion matrix is not square"
    if any(count < 0 for row in matrix for count in row):
        return "its confusion matrix has negative counts"
    if (total := sum(map(sum, matrix))) != measured.num_examples:
        return f"its confusion matrix counts {total} records, but it says it measured on {measured.num_examples}"
    return ""
