"""Training when not all variables travel: which change, which the rule touches, and no trace of it afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedstream.model._tensorflow import keras
from fedstream.model.examples import Examples
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.training import Trainer
from fedstream.record.description import VariableDescription
from fedstream.record.exchange import Parts
from fedstream.record.local_rule import NO_RULE, LocalRule, LocalTraining, Proximal
from fedstream.record.weights import digest

N = 40
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, N)
HEAD = VariableDescription(name="head/kernel", shape=[5, 3], dtype="float32")


def make(optimizer: Any) -> Trainer:
    layers = keras().layers
    keras().utils.set_random_seed(3)
    model = keras().Sequential(
        [
            keras().Input((4,)),
            layers.Dense(5, name="body"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3, "softmax", name="head"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return Trainer(load_keras(save_keras(model)))


def trained(trainer: Trainer, weights: Any, parts: Parts | None, rule: LocalRule = NO_RULE) -> TrainResult:
    config = TrainingConfig(epochs=2, batch_size=10, seed=5, rule=rule, parts=parts)
    return trainer.train(weights, Examples(X, Y, np.arange(N) % 4 == 0), config)


@pytest.mark.parametrize("ema", [False, True])
def test_what_neither_travels_nor_is_personal_stays_bit_for_bit(ema: bool) -> None:
    trainer = make(keras().optimizers.AdamW(0.01, use_ema=ema))
    start = get_weights(trainer.model)
    result = trained(trainer, start, Parts(shared=["body/kernel"], personal=[HEAD]))
    changed = {name for name, array in result.weights.items() if not np.array_equal(array, start[name])}
    assert changed == {"body/kernel", "head/kernel"}
    assert digest(get_weights(trainer.model)) == digest(result.weights), "these weights are the ones measured"


def test_a_training_after_it_is_a_plain_one() -> None:
    trainer = make(keras().optimizers.Adam(0.01))
    start = get_weights(trainer.model)
    before = digest(trained(trainer, start, None).weights)
    trained(trainer, start, Parts(shared=["body/kernel"]))
    assert digest(trained(trainer, start, None).weights) == before


def test_the_rule_is_asked_only_about_what_travels() -> None:
    heard: list[LocalTraining] = []

    class Listening(Proximal):
        def gradient(self, name: str, *arrays: Any) -> Any:
            assert name == "body/kernel"
            return super().gradient(name, *arrays)

        def finish(self, training: LocalTraining) -> Any:
            heard.append(training)
            return super().finish(training)

    trainer = make(keras().optimizers.SGD(0.1))
    start = get_weights(trainer.model)
    trained(trainer, start, Parts(shared=["body/kernel"], personal=[HEAD]), Listening(0.5))
    assert [(training.start.keys(), training.trained.keys()) for training in heard] == [({"body/kernel"},) * 2]
