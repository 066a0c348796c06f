"""Columns and classes by name: whoever sends them in another order means the same. Pure; the one place that brings records into a run's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError, UsageError
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.stream.codec import get_codec
from fedstream.stream.records import RawRecords

SHOWN = 3
"""Names that a message lists."""


@dataclass(frozen=True)
class Alignment:
    """How a stream's records come into a run's order.

    Attributes:
        columns: the run's column i is the stream's column columns[i]; absent where one of them names none.
        classes: the stream's class k is the run's class classes[k]; likewise.
    """

    columns: NDArray[np.intp] | None
    classes: NDArray[np.int64] | None

    def samples(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return samples (n, features) in the run's order."""
        if self.columns is None or np.array_equal(self.columns, np.arange(len(self.columns))):
            return x
        return np.ascontiguousarray(x[:, self.columns])

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return labels, shape (n,) or (n, 1), as the run's class numbers.

        Raises:
            RecordError: one is no class of the stream; names the first.
        """
        if self.classes is None:
            return y
        wrong = ~((y >= 0) & (y < len(self.classes)) & (y == np.floor(y)))
        if wrong.any():
            first = int(np.argmax(wrong.reshape(len(y), -1).any(axis=1)))
            label = np.ravel(y[first])[0].item()
            raise RecordError(
                f"label {label!r} of record {first} is none of the stream's classes 0 to {len(self.classes) - 1};"
                f" {int(wrong.sum())} of {len(y)} labels are wrong. Announce all classes, or correct the labels"
            )
        return self.classes[y.astype(np.intp)]


def align(
    features: Sequence[str], classes: Sequence[str], run_features: Sequence[str], run_classes: Sequence[str]
) -> Alignment:
    """Return how a stream with these names comes into a run's order; where either side names none, the order is taken as it is.

    Raises:
        RecordError: the names are not the run's.
    """
    if reason := names_differ(features, classes, run_features, run_classes):
        raise RecordError(reason)
    columns = np.array([features.index(name) for name in run_features], np.intp) if features and run_features else None
    numbers = np.array([run_classes.index(name) for name in classes], np.int64) if classes and run_classes else None
    return Alignment(columns, numbers)


def names_differ(
    features: Sequence[str], classes: Sequence[str], run_features: Sequence[str], run_classes: Sequence[str]
) -> str:
    """Return how a stream's names differ from a run's, or an empty string: the same columns in any order, and no class that the run lacks."""
    lacking = _lacking(run_features, features) if features else []
    foreign = _lacking(features, run_features) if run_features else []
    if lacking or foreign:
        told = [f"lacks {_listed(lacking)}"] if lacking else []
        told += [f"has {_listed(foreign)}, which the run does not"] if foreign else []
        return f"its columns are not the run's: it {' and '.join(told)}; rename, add or drop columns and send again"
    if unknown := _lacking(classes, run_classes) if run_classes else []:
        return (
            f"its classes are not the run's: it has {_listed(unknown)}, the run has {_listed(run_classes)}; "
            "correct the labels, or name all classes when the model is added"
        )
    return ""


def decode_in_order(record: RunRecord, client: MatchedClient, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a client's samples and labels, columns and class numbers in the run's order.

    Args:
        record: of the run.
        client: whose records they are; the evaluation topic's announcement too.
        records: as they were read.

    Raises:
        RecordError: a record does not decode as announced, or its label is no class of the stream.
    """
    samples, labels = get_codec(client.format).decode_records(records)
    alignment = align(client.features, client.classes, record.features, record.classes)
    return alignment.samples(samples), alignment.labels(labels)


def is_text(labels: NDArray[Any]) -> bool:
    """Tell whether labels are texts, which need numbers."""
    return labels.dtype.kind in "UT" or (
        labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel())
    )


def number_classes(
    labels: Sequence[Any] | NDArray[Any], classes: Sequence[str] = ()
) -> tuple[NDArray[np.int64], list[str]]:
    """Turn labels that are text into class numbers.

    Args:
        labels: n texts.
        classes: all classes, in the order of their numbers; empty for those there are, sorted.

    Returns:
        Class numbers (n,), and the classes.

    Raises:
        UsageError: a label is none of the classes; names it and its record.
    """
    texts = np.array([str(label).strip() for label in labels], dtype=object)
    names = list(classes) or sorted(set(texts))
    number = {name: position for position, name in enumerate(names)}
    wrong = next((index for index, text in enumerate(texts) if text not in number), None)
    if wrong is not None:
        raise UsageError(
            f"label {texts[wrong]!r} of record {wrong} is none of the classes {_listed(names)}; correct it, or name it with --classes"
        )
    return np.array([number[text] for text in texts], np.int64), names


def _lacking(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the names that are not among others."""
    known = set(others)
    return [name for name in names if name not in known]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
