"""Match columns and classes by name, so that data owners can send them in any order.

Pure functions; this module is the only one that brings records into the order of a run.
"""

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
"""Maximum number of names in a message."""


@dataclass(frozen=True)
class Alignment:
    """The mapping from the order of a stream to the order of a run.

    Attributes:
        columns: Column i of the run is column columns[i] of the stream; None if the run or the stream has no names.
        classes: Class k of the stream is class classes[k] of the run; None if the run or the stream has no names.
        names: Names of the stream's classes.
    """

    columns: NDArray[np.intp] | None
    classes: NDArray[np.int64] | None
    names: Sequence[str] = ()

    def samples(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return samples (n, features) in the run's order."""
        if self.columns is None or np.array_equal(self.columns, np.arange(len(self.columns))):
            return x
        return np.ascontiguousarray(x[:, self.columns])

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return labels of shape (n,) or (n, 1), which are numbers or names of classes, as the run's class numbers.

        Raises:
            RecordError: A label is not a class of the stream. The message names the first such label.
        """
        if self.classes is None:
            return y
        if is_text(y):
            return self.classes[_numbers(y, self.names)]
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
    """Return the mapping from a stream with these names to the order of a run.

    If the stream or the run has no names, the order stays as it is.

    Raises:
        RecordError: The names do not match the run's.
    """
    if reason := names_differ(features, classes, run_features, run_classes):
        raise RecordError(reason)
    columns = np.array([features.index(name) for name in run_features], np.intp) if features and run_features else None
    numbers = np.array([run_classes.index(name) for name in classes], np.int64) if classes and run_classes else None
    return Alignment(columns, numbers, classes)


def names_differ(
    features: Sequence[str], classes: Sequence[str], run_features: Sequence[str], run_classes: Sequence[str]
) -> str:
    """Return how a stream's names differ from a run's, or an empty string if they match.

    They match if both have the same columns, in any order, and the stream has no class that the run lacks.
    """
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
    """Return a client's samples and labels, with columns and class numbers in the run's order.

    Args:
        record: The record of the run.
        client: The client that owns the records, or the announcement of the evaluation topic.
        records: The records as read.

    Raises:
        RecordError: A record does not decode as announced, or its label is not a class of the stream.
    """
    samples, labels = get_codec(client.format).decode_records(records)
    alignment = align(client.features, client.classes, record.features, record.classes)
    return alignment.samples(samples), alignment.labels(labels)


def samples_in_order(record: RunRecord, client: MatchedClient, records: RawRecords) -> NDArray[Any]:
    """Return the samples of records without labels, with columns in the run's order.

    Args:
        record: The record of the run.
        client: The client that owns the records.
        records: The records as read.

    Raises:
        RecordError: A record does not decode as announced.
    """
    codec, samples = get_codec(client.format), []
    for index, value in enumerate(records.values):
        try:
            samples.append(codec.decode_sample(value))
        except RecordError as error:
            raise RecordError(f"record {records.where(index)}: {error}. Send it again as announced") from error
    alignment = align(client.features, client.classes, record.features, record.classes)
    return alignment.samples(np.array(samples, codec.data_dtype).reshape(len(samples), *codec.data_shape))


def is_text(labels: NDArray[Any]) -> bool:
    """Return whether labels are text and have to be turned into numbers."""
    return labels.dtype.kind in "UT" or (
        labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel())
    )


def number_classes(
    labels: Sequence[Any] | NDArray[Any], classes: Sequence[str] = ()
) -> tuple[NDArray[np.int64], list[str]]:
    """Turn text labels into class numbers.

    Args:
        labels: n text labels.
        classes: All classes, in the order of their numbers; empty to take the sorted labels.

    Returns:
        Class numbers (n,), and the classes.

    Raises:
        UsageError: A label is not one of the classes. The message names the label and its record.
    """
    texts = np.array([str(label).strip() for label in labels], dtype=object)
    names = list(classes) or sorted(set(texts))
    number = {name: position for position, name in enumerate(names)}
    wrong = next((index for index, text in enumerate(texts) if text not in number), None)
    if wrong is not None:
        raise UsageError(
            f"label {texts[wrong]!r} of record {wrong} is none of the classes {_listed(names)}; "
            "correct it, or name it with --classes"
        )
    return np.array([number[text] for text in texts], np.int64), names


def _numbers(labels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.intp]:
    number = {name: position for position, name in enumerate(classes)}
    found = np.array([number.get(str(label).strip(), -1) for label in labels.ravel()], np.intp)
    if (wrong := np.flatnonzero(found < 0)).size:
        raise RecordError(
            f"the label of record {wrong[0]} is a text that is none of the stream's {len(classes)} classes; "
            f"{wrong.size} of {labels.size} labels are wrong. Announce all classes, or correct the labels"
        )
    return found.reshape(labels.shape)


def _lacking(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the names that the others do not contain."""
    known = set(others)
    return [name for name in names if name not in known]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
