"""Training that ends at its deadline with the whole epochs it has finished, and what rules hear and keep in Keras."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from support.small_model import CLASSES, N, X, Y, gradient, make

from fedstream.aggregation.qfedavg import Losses
from fedstream.aggregation.scaffold import ControlVariates
from fedstream.errors import ModelError
from fedstream.model._tensorflow import keras
from fedstream.model.examples import Examples
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.learner import TrainingConfig as Config
from fedstream.model.learner import TrainResult
from fedstream.model.progress import Progress
from fedstream.model.training import Trainer
from fedstream.record.local_rule import NO_RULE, Proximal
from fedstream.record.weights import Weights, digest

BATCH = 1
"""Of 54 records, so that an epoch needs more than one call of the graph, and the deadline can pass within it."""


def trained(model: Any, weights: Weights, devices: Any = None, **config: Any) -> TrainResult:
    how = Config(**({"epochs": 4, "batch_size": BATCH, "seed": 5, "rule": Proximal(0.1)} | config))
    return Trainer(model).train(weights, Examples(X, Y, np.arange(N) % 10 == 0), how, devices)


def late_in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return a deadline that passes once that epoch has begun."""
    real = Progress.check

    def check(self: Progress, batch: int) -> None:
        if self.epochs == number - 1:
            self._deadline = time.monotonic() - 1
        real(self, batch)

    monkeypatch.setattr(Progress, "check", check)
    return time.monotonic() + 600


OPTIMIZERS = {
    "sgd": lambda: keras().optimizers.SGD(0.1),
    "adam with an average of the weights": lambda: keras().optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "schedule": lambda: keras().optimizers.SGD(keras().optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_counts_is_the_model_of_the_last_whole_epoch(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(keras().layers.BatchNormalization(), optimizer=OPTIMIZERS[optimizer]())
    weights = get_weights(model)
    whole = trained(model, weights, epochs=2)
    partial = trained(model, weights, deadline=late_in_epoch(3, monkeypatch))
    assert digest(partial.weights) == digest(whole.weights)
    assert (partial.epochs, whole.epochs) == (2, None)
    assert (partial.training, partial.trained) == (whole.training, whole.trained)


def test_a_first_epoch_that_is_not_finished_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    with pytest.raises(ModelError, match="training passed the round's deadline at step"):
        trained(model, get_weights(model), deadline=late_in_epoch(1, monkeypatch))


def test_a_rule_without_partial_work_is_late_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    with pytest.raises(ModelError, match="training passed the round's deadline at step"):
        trained(model, get_weights(model), rule=NO_RULE, deadline=late_in_epoch(3, monkeypatch))


def test_scaffolds_correction_and_variate_are_those_of_the_paper() -> None:
    """Four steps of gradient descent on all records, with c and c_i that are not zero."""
    model, rng, eta = make(optimizer=keras().optimizers.SGD(0.5)), np.random.default_rng(1), 0.5
    start = get_weights(model)
    set_weights(model, start)
    c, own = ({f"c/{n}": rng.normal(size=a.shape).astype(np.float32) * 0.1 for n, a in start.items()} for _ in "ci")
    y = {name: array.astype(float) for name, array in start.items()}
    for _ in range(4):
        for name, g in zip(("classes/kernel", "classes/bias"), gradient(*y.values()), strict=True):
            y[name] = y[name] - eta * (g - own[f"c/{name}"] + c[f"c/{name}"])
    found = trained(model, start, batch_size=1000, rule=ControlVariates(), received=c, state=own)
    for name in start:
        assert np.allclose(found.weights[name], y[name], atol=1e-6)
        plus = own[f"c/{name}"] - c[f"c/{name}"] + (start[name] - y[name]) / (4 * eta)
        assert np.allclose(found.state[f"c/{name}"], plus, atol=1e-5)
        assert np.allclose(found.extras[f"c/{name}"], plus - own[f"c/{name}"], atol=1e-5)


def test_a_rule_can_ask_for_the_loss_of_the_received_model() -> None:
    model = make()
    start = get_weights(model)
    plain = trained(model, start, rule=NO_RULE)
    found = trained(model, start, rule=Losses())
    scores = X[np.arange(N) % 10 != 0] @ start["classes/kernel"] + start["classes/bias"]
    labels = Y[np.arange(N) % 10 != 0]
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert found.extras["loss"] == pytest.approx(-logs[np.arange(len(labels)), labels].mean(), rel=1e-5)
    assert found.extras["learning_rate"] == 0.5
    assert digest(found.weights) == digest(plain.weights)
    assert found.trained == plain.trained
    assert logs.shape[1] == CLASSES
