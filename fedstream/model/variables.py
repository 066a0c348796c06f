"""Read and set Keras variables with one operation each, which matters between the trainings of small clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedstream.model._tensorflow import tensorflow
from fedstream.record.weights import Weights

PLAIN = {"ResourceVariable", "UnliftedInitializerVariable"}
"""TensorFlow's classes of variables on one device; the second is of those that are made in a traced function."""


class Variables:
    """Keras variables that are read and set many times.

    Each read and each assignment is one operation of TensorFlow. Keras' own methods end in the same operation, after
    checks that take ten times as long.

    Args:
        variables: The variables, by name.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._raw = tensorflow().raw_ops
        self._plain: dict[str, tuple[Any, Any]] = {}
        self._others: dict[str, Any] = {}
        for name, variable in variables.items():
            own = variable.value
            if type(own).__name__ in PLAIN:
                self._plain[name] = own.handle, own.dtype
            else:  # mirrored on several devices
                self._others[name] = variable

    def read(self) -> Weights:
        """Return copies of the values."""
        read = self._raw.ReadVariableOp
        values = {name: np.array(read(resource=own, dtype=dtype).numpy()) for name, (own, dtype) in self._plain.items()}
        return values | {name: to_numpy(variable) for name, variable in self._others.items()}

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the variables to values of their shapes."""
        for name, (own, dtype) in self._plain.items():
            value = values[name]
            fits = value.dtype == dtype.as_numpy_dtype
            self._raw.AssignVariableOp(resource=own, value=value if fits else value.astype(dtype.as_numpy_dtype))
        for name, variable in self._others.items():
            variable.assign(values[name])


class Restored:
    """Sets variables back to the values that they had when they were first seen.

    Args:
        variables: Keras variables.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = Variables({str(number): variable for number, variable in enumerate(variables)})
        self._values = self._variables.read()

    def __call__(self) -> None:
        self._variables.assign(self._values)


class MetricsReset:
    """Resets a model's metrics, as `model.reset_metrics` does, which takes as long as some steps of training.

    Args:
        model: Compiled Keras model.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._known = model, -1
        self._restore: Restored | None = None

    def __call__(self) -> None:
        variables = [variable for metric in self._model.metrics for variable in metric.variables]
        if self._restore is None or len(variables) != self._known:  # Keras makes more of them with the first batch
            self._model.reset_metrics()
            self._restore, self._known = Restored(variables), len(variables)
        self._restore()


def to_numpy(variable: Any) -> np.ndarray:
    """Return a copy of a Keras variable's value."""
    return np.array(variable.value.numpy())
