"""Which measurements can be: numbers within the range of their metric, a confusion matrix that counts the records measured."""

from __future__ import annotations

import math
import re

from fedstream.record.documents import Metrics

LARGEST_METRIC = 1e100
"""No float32 model scores more; sums of such values over all clients' records stay finite."""

ROUNDING = 1e-6
"""How far float32 sums may leave a metric's range."""

RANGES = [
    (r"accuracy|precision|recall|specificity|sensitivity|auc|f1|fbeta|iou|io_u|dice", 0.0, 1.0),
    (r"cosine_similarity|correlation", -1.0, 1.0),
    (r"r2", -math.inf, 1.0),
    (r"error|mse|mae|mape|msle|rmse|hinge", 0.0, math.inf),
]
"""(part of a metric's name, lowest value, highest value). Keras numbers equal names, as in auc_1; a loss may be negative."""


def why_implausible(measured: Metrics, most_records: int, metric: str) -> str:
    """Return why something cannot have been measured, or an empty string.

    Args:
        measured: what is said to have been measured.
        most_records: records there were to measure on.
        metric: the run's target metric, which must be among the values, as must the loss; empty where none must be.
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


def _range(name: str) -> tuple[float, float]:
    low, high = next(
        ((low, high) for part, low, high in RANGES if name != "loss" and re.search(part, name)), (-math.inf, math.inf)
    )
    return max(low, -LARGEST_METRIC), min(high, LARGEST_METRIC)


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
