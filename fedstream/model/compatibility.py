"""Check whether the records of a stream fit a model. Must not import TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError
from fedstream.record.description import SPARSE_LOSS, TEXT, InputDescription, ModelDescription
from fedstream.record.format import RecordShapes


def check_fit(model: ModelDescription, records: RecordShapes) -> None:
    """Check that the model can be trained on such records.

    Raises:
        ModelError: The shape or the inputs of the data, or the shape of the label, do not match the model. The message
            names both.
    """
    if reason := inputs_differ(model.takes, records, "the stream's records"):
        raise ModelError(f"model {model.name!r} has input {reason}; announce the model's shape or change the model")
    label = tuple(records.label_shape)
    if label not in _label_shapes(model):
        raise ModelError(
            f"model {model.name!r} with loss {model.loss} expects labels of shape {_label_shapes(model)[0]}, "
            f"the stream's have shape {label};"
            f" {'send class numbers' if model.loss == SPARSE_LOSS else 'announce that shape'} or compile the "
            "model with another loss"
        )


def inputs_differ(takes: Mapping[str, InputDescription], records: RecordShapes, whose: str = "records") -> str:
    """Return how records differ from what a model takes, or an empty string.

    Args:
        takes: Inputs of the model by name; a single input has an empty name.
        records: Shapes of the records.
        whose: How to call the records.
    """
    dtype = records.data_dtype
    parts = [(name, dtype[name].base, dtype[name].shape) for name in sorted(dtype.names or ())]
    got = {name: (shape, base.kind == "O") for name, base, shape in parts or [("", dtype, tuple(records.data_shape))]}
    expected = {name: (tuple(one.shape), one.dtype == TEXT) for name, one in sorted(takes.items())}
    if got == expected:
        return ""
    return f"{_listed(expected)}, which does not fit {whose} of shape {_listed(got)}"


def _listed(parts: Mapping[str, tuple[Sequence[int], bool]]) -> str:
    return ", ".join(f"{name} {shape}{' of text' if text else ''}".strip() for name, (shape, text) in parts.items())


def check_labels(model: ModelDescription, y: NDArray[Any]) -> None:
    """Check that labels are classes the model knows; does nothing for a model without classes.

    Args:
        model: Description of the model; `num_classes` is its number of classes.
        y: Labels of shape (n,) or (n, ...), integers of any numeric dtype.

    Raises:
        ModelError: A label is not a class. The message names the first such label, the index of its record, the number
            of wrong records, and the allowed classes.
    """
    if model.num_classes is None or not len(y):
        return
    labels = np.asarray(y).reshape(len(y), -1)
    wrong = ~((labels >= 0) & (labels < model.num_classes) & (labels == np.floor(labels)))
    if wrong.any():
        bad = wrong.any(axis=1)
        first = int(np.argmax(bad))
        label = labels[first][wrong[first]][0].item()
        raise ModelError(
            f"label {label!r} of record {first} is no class of model {model.name!r}, "
            f"which has classes 0 to {model.num_classes - 1}"
            f" ({int(bad.sum())} of {len(labels)} records are wrong); "
            "correct the stream's labels or give the model more outputs"
        )


def _label_shapes(model: ModelDescription) -> list[tuple[int, ...]]:
    shape = tuple(model.output_shape)
    if model.loss == SPARSE_LOSS:
        return [shape[:-1], (*shape[:-1], 1)]
    return [shape, ()] if shape == (1,) else [shape]
