"""The shapes and names of records once they are preprocessed, to match streams with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedstream.preprocessing.transform import resolve, resolve_fields
from fedstream.record.description import ModelDescription
from fedstream.record.format import RecordShapes
from fedstream.record.preprocessing import OneHot, Preprocessing


@dataclass(frozen=True)
class Shapes:
    """Dtype and shape of a sample, and shape of a label."""

    data_dtype: np.dtype[Any]
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
    dtype = records.data_dtype
    transform = (
        resolve_fields(preprocessing, dtype) if dtype.names else resolve(preprocessing, records.data_shape, names)
    )
    after = transform.samples(np.zeros((1, *records.data_shape), dtype))
    label = (transform.classes,) if transform.classes and tuple(records.label_shape) in ((), (1,)) else ()
    return Shapes(after.dtype, after.shape[1:], label or records.label_shape)


def without_encoded_names(preprocessing: Preprocessing, model: ModelDescription) -> ModelDescription:
    """Return a model's description, without the names of its columns if those of the records become others."""
    encodes = any(isinstance(step, OneHot) for step in preprocessing.steps)
    return model.model_copy(update={"features": []}) if encodes else model
