"""A Keras model in memory: its variables, loss and shapes, by names that are the same in every process."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel
from fedstream.model.variables import Variables
from fedstream.record.description import SPARSE_LOSS
from fedstream.record.weights import Weights

DTYPES = {
    "bool",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
}
"""What numpy and safetensors both know."""


def travelling(model: KerasModel) -> dict[str, Any]:
    """Return the variables that travel between clients and the aggregation: name -> Keras variable, in Keras' order.

    These are the trainable variables and the non-trainable state of layers, such as BatchNormalization's moving
    statistics. The states of random generators (Dropout) are not weights to Keras and stay local: each training sets
    them from its seed. The optimizer's variables also stay local.

    Raises:
        ModelError: Safetensors does not support the dtype of a variable.
    """
    names: Counter[str] = Counter()
    variables = {}
    for variable in model.weights:
        # Paths begin with the model's name in a new model, but not in a loaded one. Nested models with equal layer
        # names share paths.
        name = variable.path.removeprefix(f"{model.name}/")
        names[name] += 1
        name = name if names[name] == 1 else f"{name}#{names[name]}"
        if variable.dtype not in DTYPES:
            raise ModelError(
                f"variable {name!r} has type {variable.dtype}, which cannot be stored; "
                "build the model with dtype float32"
            )
        variables[name] = variable
    return variables


def get_weights(model: KerasModel) -> Weights:
    """Return copies of the model's weights, by name."""
    return Variables(travelling(model)).read()


def set_weights(model: KerasModel, weights: Weights) -> None:
    """Set the model's weights.

    Raises:
        ModelError: Names or shapes do not match the model's.
    """
    variables = travelling(model)
    check_shapes(model, shapes_of(variables), weights)
    Variables(variables).assign(weights)


def shapes_of(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of Keras variables, by name."""
    return {name: tuple(variable.shape) for name, variable in variables.items()}


def check_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]], weights: Weights) -> None:
    """Check that weights are those of a model.

    Args:
        model: The model, for the message.
        shapes: Shapes of its variables, by name.
        weights: The weights.

    Raises:
        ModelError: Names or shapes do not match the model's.
    """
    if single := sorted(shapes.keys() ^ weights.keys()):
        where = "model" if single[0] in shapes else "weights"
        raise ModelError(f"the weights are not of model {model.name!r}: variable {single[0]!r} is in the {where} only")
    for name, expected in shapes.items():
        if (got := weights[name].shape) != expected:
            raise ModelError(
                f"the weights are not of model {model.name!r}: variable {name!r} has shape {got}, "
                f"the model's has {expected}"
            )


def loss_name(model: KerasModel) -> str:
    """Return the compiled loss as Keras spells it in words, such as `sparse_categorical_crossentropy`.

    Raises:
        ModelError: The model has several different losses, or none.
    """
    loss = model.loss
    given = loss.values() if isinstance(loss, dict) else loss if isinstance(loss, list | tuple) else [loss]
    names = sorted({_in_words(model, one) for one in given})
    if len(names) != 1:
        raise ModelError(
            f"model {model.name!r} is compiled with the losses {' and '.join(names) or '(none)'}; "
            "all outputs predict the same label, so use the same loss for all"
        )
    return names[0]


def _in_words(model: KerasModel, loss: Any) -> str:
    if loss is None:
        raise ModelError(f"model {model.name!r} is compiled without a loss; name one in `model.compile(...)`")
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def record_shape(model: KerasModel, tensors: Sequence[Any] | None, what: str) -> list[int]:
    """Return the shape of the model's one input, or of each of its outputs, without the batch.

    Raises:
        ModelError: There is none, there are several inputs, or the shape is not fixed.
    """
    if not tensors or (what == "input" and len(tensors) != 1):
        count = "no known" if not tensors else len(tensors)
        raise ModelError(
            f"model {model.name!r} has {count} {what}s, expected one; "
            "build it as a Sequential or functional model with one keras.Input"
        )
    shape = tuple(tensors[0].shape)[1:]
    if None in shape:
        raise ModelError(
            f"the {what} of model {model.name!r} has shape {shape}; every dimension but the batch must be fixed"
        )
    return [int(size) for size in shape]


def num_classes(model: KerasModel) -> int | None:
    """Return the number of classes, when labels are class numbers."""
    return int(model.outputs[0].shape[-1]) if loss_name(model) == SPARSE_LOSS else None


def as_targets(model: KerasModel, y: np.ndarray) -> np.ndarray:
    """Return labels as the model's loss expects them: int64 class numbers (n,), or float32 of the given shape."""
    if loss_name(model) != SPARSE_LOSS:
        return y.astype(np.float32)
    targets = y.astype(np.int64)
    return targets[..., 0] if targets.ndim == len(model.outputs[0].shape) and targets.shape[-1] == 1 else targets
