"""The edge between arrays and a model's inputs: named fields of an array become the named inputs of a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.keras_model import record_shape
from fedstream.record.description import TEXT, InputDescription


def describe_inputs(model: KerasModel) -> tuple[list[int], dict[str, InputDescription]]:
    """Return the shape of one record, and the inputs by name, as a description of the model contains them.

    Raises:
        ModelError: The model has no known input, or one whose shape is not fixed.
    """
    tensors = getattr(model, "inputs", None) or []
    if len(tensors) < 2:
        shape = record_shape(model, tensors, "input")
        return shape, {"": InputDescription(shape=shape, dtype=TEXT)} if tensors[0].dtype == TEXT else {}
    return [], {
        tensor.name: InputDescription(shape=record_shape(model, [tensor], "input"), dtype=tensor.dtype)
        for tensor in tensors
    }


def to_tensors(x: NDArray[Any]) -> Any:
    """Return records (n, ...) as a tensor of their own type, or as a tensor for each named field."""
    constant = tensorflow().constant
    return constant(x) if x.dtype.names is None else {name: constant(x[name]) for name in x.dtype.names}


def as_inputs(model: KerasModel, tensors: Any) -> Any:
    """Return the result of `to_tensors`, or a batch of it, in the types of the model's inputs."""
    cast = tensorflow().cast
    if not isinstance(tensors, dict):
        return cast(tensors, model.inputs[0].dtype)
    return {one.name: cast(tensors[one.name], one.dtype) for one in model.inputs}


def gathered(model: KerasModel, tensors: Any, index: Any) -> Any:
    """Return the inputs of some records of the result of `to_tensors`, by their numbers."""
    tf = tensorflow()
    return as_inputs(model, tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), tensors))


def input_specs(model: KerasModel) -> Any:
    """Return what a traced function takes as the inputs of a batch of any size."""
    specs = {one.name: tensorflow().TensorSpec([None, *one.shape[1:]], one.dtype) for one in model.inputs}
    return specs if len(specs) > 1 else next(iter(specs.values()))


def zero_inputs(model: KerasModel, records: int) -> Any:
    """Return inputs of zeros and of empty texts."""
    tf = tensorflow()
    return tf.nest.map_structure(lambda spec: tf.zeros([records, *spec.shape[1:]], spec.dtype), input_specs(model))


def zero_records(inputs: Mapping[str, InputDescription], records: int) -> NDArray[Any]:
    """Return records of zeros and of empty texts for a model that takes these inputs."""
    parts = {
        name: np.full((records, *one.shape), "", object) if one.dtype == TEXT else np.zeros((records, *one.shape), "f4")
        for name, one in inputs.items()
    }
    if "" in parts:
        return parts[""]
    found = np.empty(records, [(name, part.dtype, part.shape[1:]) for name, part in parts.items()])
    for name, part in parts.items():
        found[name] = part
    return found


def values_of(x: NDArray[Any]) -> int:
    """Return the number of values in one record."""
    if x.dtype.names is None:
        return int(x[0].size)
    return sum(int(np.prod(x.dtype[name].shape)) for name in x.dtype.names)


def is_finite(x: NDArray[Any]) -> bool:
    """Return whether records contain neither NaN nor infinity."""
    parts = [x] if x.dtype.names is None else [x[name] for name in x.dtype.names]
    return all(bool(np.isfinite(part).all()) for part in parts if part.dtype.kind == "f")
