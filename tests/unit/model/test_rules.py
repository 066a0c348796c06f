"""What a LocalRule does to training: the arithmetic of the proximal term, arrays that come and go,
and no trace of it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from support.small_model import N, X, Y, gradient, make
from support.strategies import LocalNoise, Variates

from fedstream.aggregation.scaffold import C, ControlVariates
from fedstream.errors import ModelError
from fedstream.model._tensorflow import keras
from fedstream.model.examples import Examples
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.training import Trainer, train_client
from fedstream.record.extras import ArraySpec
from fedstream.record.local_rule import NO_RULE, Finished, LocalRule, LocalTraining, Proximal
from fedstream.record.weights import digest


def trained(
    model: Any,
    weights: dict[str, np.ndarray],
    rule: LocalRule,
    received: Any = None,
    devices: Any = None,
    **config: Any,
) -> TrainResult:
    set_weights(model, weights)
    how = TrainingConfig(
        **({"epochs": 2, "batch_size": 1000, "rule": rule, "received": received or {}, "seed": 5} | config)
    )
    return train_client(model, Examples(X, Y, np.arange(N) % 10 == 0), how, devices)


def test_the_proximal_term_adds_mu_times_the_distance_to_each_step_s_gradient() -> None:
    model = make()
    start = get_weights(model)
    kernel, bias = start["classes/kernel"].astype(float), start["classes/bias"].astype(float)
    for _ in range(4):
        of_kernel, of_bias = gradient(kernel, bias)
        kernel, bias = (
            kernel - 0.5 * (of_kernel + 0.8 * (kernel - start["classes/kernel"])),
            bias - 0.5 * (of_bias + 0.8 * (bias - start["classes/bias"])),
        )
    found = trained(model, start, Proximal(0.8), epochs=4).weights
    assert np.allclose(found["classes/kernel"], kernel, atol=1e-6)
    assert np.allclose(found["classes/bias"], bias, atol=1e-6)
    plain = trained(model, start, NO_RULE, epochs=4).weights
    assert not np.allclose(found["classes/kernel"], plain["classes/kernel"], atol=1e-3)


@pytest.mark.parametrize("rule", [LocalRule(), Proximal(0.0)], ids=["none", "mu 0"])
def test_a_rule_that_adds_nothing_leaves_training_as_it_is_bit_for_bit(rule: LocalRule) -> None:
    model = make(keras().layers.BatchNormalization(), optimizer=keras().optimizers.Adam(0.01))
    weights = get_weights(model)
    assert digest(trained(model, weights, rule).weights) == digest(trained(model, weights, NO_RULE).weights)


def test_nothing_is_left_of_a_rule_in_the_model() -> None:
    model = make(keras().layers.Dense(5), optimizer=keras().optimizers.Adam(0.01))
    weights = get_weights(model)
    before, config = digest(trained(model, weights, NO_RULE, batch_size=10).weights), model.optimizer.get_config()
    strong = [digest(trained(model, weights, Proximal(5.0), batch_size=10).weights) for _ in range(2)]
    assert strong[0] == strong[1] != before
    assert digest(trained(model, weights, NO_RULE, batch_size=10).weights) == before
    assert model.optimizer.get_config() == config
    assert "apply" not in vars(model.optimizer)


def test_the_rule_is_gone_after_training_that_failed() -> None:
    model = make()
    weights = get_weights(model)
    with pytest.raises(ModelError, match="training diverged"):
        trained(model, weights, Proximal(1e30), learning_rate=1e30, epochs=5)
    assert "apply" not in vars(model.optimizer)


def test_the_term_counts_before_gradients_are_clipped() -> None:
    model = make(optimizer=keras().optimizers.SGD(1.0, global_clipnorm=0.01))
    start = get_weights(model)
    found = trained(model, start, Proximal(1e4), epochs=6).weights
    assert max(np.abs(found[name] - start[name]).max() for name in start) <= 0.02, (
        "a term added after clipping would throw it far away"
    )


def test_a_strong_term_keeps_trainable_variables_in_place_and_moving_statistics_free() -> None:
    model = make(keras().layers.BatchNormalization(name="norm"), optimizer=keras().optimizers.SGD(0.001))
    start = get_weights(model)
    plain, kept = (trained(model, start, rule, epochs=30, batch_size=20).weights for rule in (NO_RULE, Proximal(500.0)))

    def moved(weights: dict[str, np.ndarray], name: str) -> float:
        return float(np.linalg.norm(weights[name] - start[name]))

    assert moved(kept, "classes/kernel") < 0.2 * moved(plain, "classes/kernel")
    assert moved(kept, "norm/moving_mean") > 0.5 * moved(plain, "norm/moving_mean")


def test_sparse_gradients_of_embeddings_get_the_term_too() -> None:
    layers = keras().layers
    model = make(layers.Rescaling(0.0), layers.Embedding(3, 2, name="table"), layers.Flatten())
    start = get_weights(model)
    moved = {
        mu: trained(model, start, Proximal(mu), epochs=20).weights["table/embeddings"] - start["table/embeddings"]
        for mu in (0.0, 1.5)
    }
    assert np.linalg.norm(moved[1.5]) < 0.9 * np.linalg.norm(moved[0.0])


def test_half_precision_takes_the_term_in_its_own_scale() -> None:
    model = make(keras().layers.Dense(8, name="hidden"))
    start = get_weights(model)
    exact = trained(model, start, Proximal(0.8), epochs=4).weights
    half = trained(model, start, Proximal(0.8), epochs=4, mixed_precision=True).weights
    assert all(np.allclose(half[name], exact[name], atol=0.02) for name in exact)


def test_arrays_go_out_with_the_model_and_come_back_with_the_update() -> None:
    """After one full batch, the correction is the whole difference, and what comes back is the plain gradient."""
    model = make()
    start = get_weights(model)
    received = {f"c/{name}": np.full_like(array, 0.25) for name, array in start.items()}
    result = trained(model, start, Variates(), received, epochs=1)
    of_kernel, of_bias = gradient(start["classes/kernel"].astype(float), start["classes/bias"].astype(float))
    assert np.allclose(result.weights["classes/kernel"], start["classes/kernel"] - 0.5 * (of_kernel + 0.25), atol=1e-6)
    assert np.allclose(result.extras["c/classes/kernel"], of_kernel, atol=1e-5)
    assert np.allclose(result.extras["c/classes/bias"], of_bias, atol=1e-5)
    assert {name: array.dtype for name, array in result.extras.items()} == {
        name: np.dtype(np.float32) for name in received
    }


def test_weights_that_a_rule_changes_are_those_that_are_sent_and_measured() -> None:
    model = make()
    start = get_weights(model)
    plain, noisy, again = (trained(model, start, rule) for rule in (NO_RULE, LocalNoise(), LocalNoise()))
    difference = noisy.weights["classes/kernel"] - plain.weights["classes/kernel"]
    assert 0.001 < np.std(difference) < 0.05
    assert digest(again.weights) == digest(noisy.weights)
    assert noisy.trained != plain.trained
    assert digest(get_weights(model)) == digest(noisy.weights)


def test_a_rule_hears_how_many_steps_there_were() -> None:
    heard: list[LocalTraining] = []

    class Listening(LocalRule):
        def finish(self, training: LocalTraining) -> Any:
            heard.append(training)
            return super().finish(training)

    model = make()
    trained(model, get_weights(model), Listening(), epochs=3, batch_size=10, learning_rate=0.125)
    assert [(training.steps, training.learning_rate, training.seed) for training in heard] == [(18, 0.125, 5)]


@pytest.mark.parametrize(
    ("extras", "said"),
    [
        ({}, "extra array 'c' is missing"),
        ({"c": np.zeros(2)}, "extra array 'c' has dtype float64, expected float32"),
        ({"c": np.array([1, np.inf], np.float32)}, "extra array 'c' has 1 values that are not finite"),
        ({"c": np.zeros(2, np.float32), "d": np.zeros(1)}, "extra array 'd' is not in what the rule returns"),
    ],
)
def test_a_rule_that_does_not_return_what_it_says_is_named(extras: Any, said: str) -> None:
    class Wrong(LocalRule):
        def returns(self, base: Any) -> dict[str, ArraySpec]:
            return {"c": ArraySpec((2,), "float32")}

        def finish(self, training: LocalTraining) -> Any:
            return Finished(training.trained, extras)

    model = make()
    with pytest.raises(ModelError, match=f"local rule Wrong makes no update that counts: {said}"):
        trained(model, get_weights(model), Wrong())


@dataclass(frozen=True)
class Counted(ControlVariates):
    """Counts the calls of `gradient`, of which each tracing makes one for each variable."""

    calls: ClassVar[list[str]] = []

    def gradient(self, name: str, *given: Any) -> Any:
        self.calls.append(name)
        return super().gradient(name, *given)


def test_a_rule_is_traced_once_for_all_clients_and_each_has_its_own_arrays() -> None:
    trainer, examples = Trainer(make()), Examples(X, Y, np.arange(N) % 10 == 0)
    start = get_weights(trainer.model)

    def config(scale: float, known: bool) -> TrainingConfig:
        received, state = (
            {C + name: np.full_like(array, scale * sign) for name, array in start.items()} for sign in (0.01, -0.05)
        )
        return TrainingConfig(
            epochs=2, batch_size=10, rule=Counted(), received=received, state=state if known else {}, seed=5
        )

    configs = [config(scale, known) for known in (False, True) for scale in (1.0, 2.0, 3.0)]
    found = [digest(trainer.train(start, examples, how).weights) for how in configs]
    assert len(Counted.calls) == 2 * len(start), "with and without a state"
    assert found == [digest(Trainer(make()).train(start, examples, how).weights) for how in configs]
    assert len({*found}) == len(found)
