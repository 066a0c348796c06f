"""Variables are read and set past Keras' own methods, with the same result."""

from __future__ import annotations

import numpy as np

from fedstream.model.builtin import build_builtin
from fedstream.model.examples import Examples
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig
from fedstream.model.training import Trainer
from fedstream.model.variables import MetricsReset, Restored, Variables

X = (np.arange(40 * 64) % 17).reshape(40, 8, 8).astype(np.float32)
EXAMPLES = Examples(X, np.arange(40) % 10, np.zeros(40, bool))


def aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy at an address that TensorFlow uses without copying."""
    buffer = np.zeros(array.nbytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_training_leaves_the_weights_that_it_is_given_as_they_are() -> None:
    trainer = Trainer(build_builtin("builtin:digits-mlp"))
    before = get_weights(trainer.model)
    given = {name: aligned(value) for name, value in before.items()}
    trained = trainer.train(given, EXAMPLES, TrainingConfig(batch_size=10)).weights
    for name, value in before.items():
        assert np.array_equal(given[name], value)
        assert not np.array_equal(trained[name], value)


def test_values_come_back_in_the_type_of_the_variable() -> None:
    model = build_builtin("builtin:digits-mlp")
    variables = Variables({variable.path: variable for variable in model.weights})
    values = {name: np.full(value.shape, 0.5) for name, value in variables.read().items()}
    variables.assign(values)
    for variable in model.weights:
        assert variable.numpy().dtype == np.float32
        assert np.array_equal(variable.numpy(), values[variable.path])


def test_variables_go_back_to_what_they_were() -> None:
    model = build_builtin("builtin:digits-mlp")
    before, restore = get_weights(model), Restored(model.weights)
    Variables({"first": model.weights[0]}).assign({"first": np.ones(model.weights[0].shape)})
    restore()
    assert all(np.array_equal(value, before[name]) for name, value in get_weights(model).items())


def test_metrics_are_reset_as_by_keras_before_and_after_the_first_batch() -> None:
    model = build_builtin("builtin:digits-mlp")
    reset = MetricsReset(model)
    reset()
    for _ in range(2):
        model.train_on_batch(X, EXAMPLES.y)
        reset()
        assert [float(variable.numpy()) for metric in model.metrics for variable in metric.variables] == [0.0] * 4
