"""What a client says of its records: sums and histograms of each feature, and the number of records of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.record.documents import CLASSES
from fedstream.record.preprocessing import feature_names
from fedstream.record.statistics import FeatureSums, to_text
from fedstream.statistics.bins import counted
from fedstream.statistics.exact import exact_sums

NUMBERS = "biuf"
"""Kinds of dtypes that have statistics."""


def measure(x: NDArray[Any], names: Sequence[str]) -> list[FeatureSums]:
    """Return the sums of each feature of some records.

    Values count as float32, which preprocessing computes with.

    Args:
        x: Samples (n, *shape). The features of a structured array are its fields.
        names: Names of the columns of flat samples, in order; empty if they have none.
    """
    return [found for own, table in tables_of(x, names) for found in _measured(own, table)]


def count_classes(labels: NDArray[Any]) -> dict[str, int]:
    """Return the number of records of each label.

    With more than CLASSES distinct labels, they are measurements rather than classes, and the result is empty.
    """
    values, counts = np.unique(labels, return_counts=True)
    return (
        {str(value): int(count) for value, count in zip(values, counts, strict=True)} if len(values) <= CLASSES else {}
    )


def tables_of(x: NDArray[Any], names: Sequence[str]) -> list[tuple[list[str], NDArray[np.float32]]]:
    """Return the samples as tables with one feature in each column, and the names of their columns."""
    if x.dtype.names:
        fields = [(name, x[name]) for name in x.dtype.names if x[name].dtype.kind in NUMBERS]
        return [([name], _float32(part).reshape(-1, 1)) for name, part in fields]
    own = feature_names(x.shape[1:], names)
    return [(own, _float32(x).reshape(-1, len(own)))] if x.dtype.kind in NUMBERS else []


def _float32(x: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which is missing
        return x.astype(np.float32) + np.float32(0)  # so that -0 is 0


def _measured(names: list[str], table: NDArray[np.float32]) -> list[FeatureSums]:
    finite = np.isfinite(table)
    totals, squares = exact_sums(table)
    found = []
    for place, name in enumerate(names):
        values = table[finite[:, place], place]
        found.append(
            FeatureSums(
                name=name,
                count=len(values),
                missing=len(table) - len(values),
                total=to_text(totals[place]),
                squares=to_text(squares[place]),
                minimum=float(values.min()) if len(values) else None,
                maximum=float(values.max()) if len(values) else None,
                bins=counted(values),
            )
        )
    return found
