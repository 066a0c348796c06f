"""The shapes and names of records once they are preprocessed, to match streams with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedstream.preprocessing.transform import resolve
from fedstream.record.description import ModelDescription
from fedstream.record.preprocessing import OneHot, Preprocessing


class RecordShapes(Protocol):
    """What a codec says of its records: shapes without the batch."""

    @property
    def data_shape(self) -> Sequence[int]: ...

    @property
    def label_shape(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Shapes:
    """Shapes of a sample and of a label."""

    data_shape: Sequence[int]
    label_shape: Sequence[int]


def preprocessed_shapes(preprocessing: Preprocessing, records: RecordShapes, names: Sequence[str]) -> RecordShapes:
    """Return the shapes of records as the model gets them.

    Args:
        preprocessing: The steps.
        records: Shapes of the records as they are sent.
        names: Names of their columns; empty if they have none.

    Raises:
        SpecError: The steps do not fit such records.
    """
    if preprocessing == Preprocessing():
        return records
    transform = resolve(preprocessing, records.data_shape, names)
    label = (transform.classes,) if transform.classes and tuple(records.label_shape) in ((), (1,)) else ()
    return Shapes(transform.shape, label or records.label_shape)


def without_encoded_names(preprocessing: Preprocessing, model: ModelDescription) -> ModelDescription:
    """Return a model's description, without the names of its columns if those of the records become others."""
    encodes = any(isinstance(step, OneHot) for step in preprocessing.steps)
    return model.model_copy(update={"features": []}) if encodes else model
