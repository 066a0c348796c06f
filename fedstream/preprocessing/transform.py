"""Records before and after preprocessing: pure functions of a chunk of records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError, SpecError
from fedstream.preprocessing.operations import Operation
from fedstream.preprocessing.resolve import Constants, operations_of
from fedstream.record.preprocessing import Preprocessing, feature_names

Operations = tuple[Operation, ...]

NUMBERS = "biuf"
"""Kinds of dtypes that preprocessing and statistics compute with."""


@dataclass(frozen=True)
class Transform:
    """What happens to records of one layout.

    Attributes:
        operations: Operations on plain samples; empty for samples that stay as they are.
        fields: Field -> operations on it, for samples with several named fields.
        shape: Shape of a sample afterwards; () for samples with fields.
        before: Shape of a sample before, under the name ""; with fields, of each of them, under its name.
        classes: Length of a one-hot label; 0 for labels that stay as they are.
    """

    operations: Operations
    shape: tuple[int, ...]
    before: Mapping[str, tuple[int, ...]]
    classes: int
    fields: Mapping[str, Operations] = field(default_factory=dict)

    def samples(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return preprocessed samples (n, *shape).

        Those that a step changes are float32.
        """
        if not x.dtype.names:
            return computed(self.operations, x)
        parts = {name: computed(self.fields.get(name, ()), x[name]) for name in x.dtype.names}
        result = np.empty(len(x), [(name, part.dtype, part.shape[1:]) for name, part in parts.items()])
        for name, part in parts.items():
            result[name] = part
        return result

    @property
    def changes_samples(self) -> bool:
        return bool(self.operations or any(self.fields.values()))

    def described(self) -> list[dict[str, Any]]:
        """Return the operations on plain samples, with their constants for each column, as JSON; null is NaN."""
        return [
            {"operation": type(operation).__name__}
            | {name: _json(constant.tolist()) for name, constant in vars(operation).items()}
            for operation in self.operations
        ]

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return labels, as one-hot float32 (n, classes) if that is asked for.

        Args:
            y: Labels (n, ...); class numbers (n,) or (n, 1) if they become one-hot vectors.

        Raises:
            RecordError: A label is not a class number. The message names the first such label.
        """
        if not self.classes:
            return y
        numbers = y.reshape(-1)
        wrong = ~((numbers >= 0) & (numbers < self.classes) & (numbers == np.floor(numbers)))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise RecordError(
                f"label {numbers[first].item()!r} of record {first} is none of the classes 0 to {self.classes - 1} of "
                f"one_hot_labels; {int(wrong.sum())} of {len(numbers)} labels are wrong"
            )
        return np.eye(self.classes, dtype=np.float32)[numbers.astype(np.intp)]


def _json(constant: Any) -> Any:
    if isinstance(constant, list):
        return [_json(value) for value in constant]
    return None if isinstance(constant, float) and math.isnan(constant) else constant


def computed(operations: Operations, x: NDArray[Any]) -> NDArray[Any]:
    """Return samples after some operations."""
    if not operations:
        return x
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        values: NDArray[Any] = x.astype(np.float32)
    for operation in operations:
        values = operation.apply(values, np)
    return values


def resolve(
    preprocessing: Preprocessing, shape: Sequence[int], names: Sequence[str], constants: Constants | None = None
) -> Transform:
    """Return what happens to plain samples.

    Args:
        preprocessing: The steps.
        shape: Shape of a sample as it is sent.
        names: Names of its columns, in the run's order; empty if they have none.
        constants: Feature -> mean and standard deviation, for `standardise`; None if only the shape matters.

    Raises:
        SpecError: The steps do not fit such samples.
    """
    operations, after = operations_of(preprocessing.steps, shape, feature_names(shape, names), constants)
    return Transform(operations, after, {"": tuple(shape)}, preprocessing.one_hot_labels)


def resolve_fields(preprocessing: Preprocessing, dtype: np.dtype[Any], constants: Constants | None = None) -> Transform:
    """Return what happens to samples with several named fields, each of which is a column.

    Args:
        preprocessing: The steps.
        dtype: Structured dtype of the samples. Fields that are not numbers can be in no step.
        constants: As in `resolve`.

    Raises:
        SpecError: The steps do not fit such samples.
    """
    names = list(dtype.names or ())
    for step in preprocessing.steps:
        if unknown := [c for c in step.columns if c not in names and not (isinstance(c, int) and c < len(names))]:
            raise SpecError(
                f"preprocessing: step {step.step} names column {unknown[0]!r}; the records have {', '.join(names)}"
            )
    fields, before = {}, {}
    for place, name in enumerate(names):
        base, shape = dtype[name].subdtype or (dtype[name], ())
        own = [
            step.model_copy(update={"columns": [name] if step.columns else []})
            for step in preprocessing.steps
            if name in step.columns or place in step.columns or (not step.columns and base.kind in NUMBERS)
        ]
        if own and base.kind not in NUMBERS:
            raise SpecError(f"preprocessing: step {own[0].step} names column {name!r}, which has no numbers")
        fields[name], _ = operations_of(own, shape, [name], constants)
        before[name] = shape
    return Transform((), (), before, preprocessing.one_hot_labels, fields)
