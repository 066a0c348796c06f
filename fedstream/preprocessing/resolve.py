"""From the steps of a RunSpec to operations on records of a known layout, and the shape of what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import SpecError
from fedstream.preprocessing.operations import (
    Differ,
    Encode,
    Expand,
    Fill,
    Normalise,
    Operation,
    Rescale,
    Truncate,
)
from fedstream.record.preprocessing import (
    ALL_VALUES,
    WHOLE,
    Cast,
    Column,
    FillMissing,
    OneHot,
    Scale,
    Standardise,
    Step,
)

Constants = Mapping[str, tuple[float, float]]
"""Feature -> mean and standard deviation."""


@dataclass
class _Columns:
    """The columns of a sample while its steps are resolved.

    Attributes:
        names: Names of the features as they are sent.
        flat: Whether each feature is one column of the last axis; otherwise all values are one feature.
        constants: Mean and deviation of each feature; None where only the shape of the result matters.
        own: Feature of each current column.
        encoded: Whether a step has one-hot encoded it.
        changed: Features that no longer have the values that were sent.
    """

    names: list[str]
    flat: bool
    constants: Constants | None
    own: list[int] = field(default_factory=list)
    encoded: list[bool] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.own, self.encoded = list(range(len(self.names))), [False] * len(self.names)

    def chosen(self, step: Step) -> set[int]:
        """Return the features that a step changes.

        Raises:
            SpecError: It names a column that does not exist, or that is one-hot encoded.
        """
        done = {own for own, encoded in zip(self.own, self.encoded, strict=True) if encoded}
        if not step.columns:
            return set(range(len(self.names))) - done
        if self.names == [ALL_VALUES]:
            raise SpecError(
                f"preprocessing: step {step.step} names column {step.columns[0]!r}, but samples of several dimensions "
                "have no columns; leave `columns` out"
            )
        places = {self._place(step, column) for column in step.columns}
        if again := sorted(places & done):
            raise SpecError(
                f"preprocessing: step {step.step} names column {self.names[again[0]]!r}, which an earlier step has "
                "one-hot encoded; put that step last"
            )
        return places

    def _place(self, step: Step, column: Column) -> int:
        if isinstance(column, int) and column < len(self.names):
            return column
        if column in self.names:
            return self.names.index(str(column))
        there = ", ".join(self.names[:5]) + (f" and {len(self.names) - 5} more" if len(self.names) > 5 else "")
        raise SpecError(
            f"preprocessing: step {step.step} names column {column!r}, which the records do not have; they have {there}"
        )

    def array(self, chosen: set[int], value: Any, other: Any, dtype: Any = np.float32) -> NDArray[Any]:
        """Return a constant for each column: that of the chosen features, and another one."""
        values = value if isinstance(value, dict) else dict.fromkeys(chosen, value)
        found = np.array([values[own] if own in chosen else other for own in self.own], dtype)
        return found if self.flat else found[0]

    def encode(self, chosen: set[int], categories: Sequence[float]) -> Encode:
        """Return the operation that encodes columns, and count its new columns."""
        source, category, own, encoded = list[int](), list[float](), list[int](), list[bool]()
        for place, (feature, before) in enumerate(zip(self.own, self.encoded, strict=True)):
            new = list(categories) if feature in chosen else [np.nan]
            source += [place] * len(new)
            category += new
            own += [feature] * len(new)
            encoded += [before or feature in chosen] * len(new)
        self.own, self.encoded = own, encoded
        flags = [not np.isnan(value) for value in category]
        return Encode(np.array(source, np.int32), np.array(flags, np.bool_), np.array(category, np.float32))


def operations_of(
    steps: Sequence[Step], shape: Sequence[int], features: Sequence[str], constants: Constants | None
) -> tuple[tuple[Operation, ...], tuple[int, ...]]:
    """Return the operations of the steps, and the shape of the samples that come out.

    Args:
        steps: The steps.
        shape: Shape of a sample as it is sent; () for a scalar.
        features: Names of its features: one for each column of a flat sample, or one for all values.
        constants: Mean and standard deviation of each feature; None to find only the shape.

    Raises:
        SpecError: The steps do not fit such samples. The message names the step and the column.
    """
    flat = len(shape) == 0 or (len(shape) == 1 and len(features) == shape[0])
    columns = _Columns(list(features), flat, constants)
    found = tuple(operation for step in steps for operation in _operation(columns, step))
    if not found or not flat:
        return found, tuple(shape)
    if shape:
        return found, (len(columns.own),)
    return ((Expand(), *found), (len(columns.own),)) if any(columns.encoded) else (found, ())


def _operation(columns: _Columns, step: Step) -> list[Operation]:
    chosen = columns.chosen(step)
    if isinstance(step, Standardise):
        return [_normalise(columns, chosen)]
    if isinstance(step, FillMissing):
        return [Fill(columns.array(chosen, step.value, np.nan))]
    if isinstance(step, OneHot):
        if not columns.flat:
            raise SpecError("preprocessing: step one_hot needs columns, and these samples have several dimensions")
        return [columns.encode(chosen, step.categories)]
    if isinstance(step, Scale):
        columns.changed |= chosen
        return [Rescale(columns.array(chosen, step.factor, 1), columns.array(chosen, step.offset, 0))]
    assert isinstance(step, Cast)
    if step.dtype == "float32":
        return [Fill(columns.array(set(), 0, np.nan))]
    columns.changed |= chosen
    flags = columns.array(chosen, True, False, np.bool_)
    if step.dtype == "bool":
        return [Differ(flags)]
    low, high = WHOLE[step.dtype]
    return [Truncate(flags, columns.array(chosen, low, 0), columns.array(chosen, high, 0))]


def _normalise(columns: _Columns, chosen: set[int]) -> Normalise:
    if late := sorted(chosen & columns.changed):
        raise SpecError(
            f"preprocessing: step standardise follows a step that changes column {columns.names[late[0]]!r}, "
            "but the statistics are those of the records as they are sent; standardise first"
        )
    columns.changed |= chosen
    if columns.constants is None:
        return Normalise(columns.array(set(), 0, 0), columns.array(set(), 1, 1))
    values = {place: columns.constants[columns.names[place]] for place in chosen}
    # A column that never varies becomes 0.
    means, deviations = ({place: pair[part] for place, pair in values.items()} for part in (0, 1))
    return Normalise(
        columns.array(chosen, means, 0),
        columns.array(chosen, {place: value or 1.0 for place, value in deviations.items()}, 1),
    )
