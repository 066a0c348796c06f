"""A Keras model that takes raw records: the run's preprocessing as layers before the trained model."""

from __future__ import annotations

from typing import Any

from fedstream.model._tensorflow import KerasModel, keras
from fedstream.preprocessing.operations import Operation
from fedstream.preprocessing.transform import Transform


def with_preprocessing(model: KerasModel, transform: Transform) -> KerasModel:
    """Return a compiled model that predicts for raw records what the given one predicts for preprocessed ones.

    It has the same weights, under the same names, and consists of Keras' own layers and operations.

    Args:
        model: The trained model; with named fields, one whose inputs have their names.
        transform: What happens to records before they reach it.
    """
    k, inputs = keras(), {tensor.name: tensor for tensor in model.inputs}
    if transform.fields:
        raw = {
            name: k.Input(shape, dtype="float32" if transform.fields[name] else inputs[name].dtype, name=name)
            for name, shape in transform.before.items()
        }
        taken = {name: _layers(transform.fields[name], raw[name], inputs[name].dtype) for name in raw}
    else:
        (inside,) = inputs.values()
        raw = k.Input(transform.before[""], dtype="float32", name=inside.name)
        taken = _layers(transform.operations, raw, inside.dtype)
    outer = k.Model(raw, model(taken), name=model.name)
    outer.compile_from_config(model.get_compile_config())
    return outer


def _layers(operations: tuple[Operation, ...], tensor: Any, dtype: str) -> Any:
    """Return a symbolic tensor after some operations, of the dtype that the model takes."""
    ops = keras().ops
    for operation in operations:
        tensor = operation.apply(tensor, ops)
    return tensor if tensor.dtype == dtype else ops.cast(tensor, dtype)
