"""Ways of training, as a run's spec picks them."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fedstream.model._tensorflow import keras
from fedstream.model.examples import Examples
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_learner import open_learner
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.modes import mode_of
from fedstream.model.modes.semi_supervised import SemiSupervised
from fedstream.model.modes.supervised import Supervised
from fedstream.record.spec import RunSpec
from fedstream.record.weights import digest


def test_a_run_trains_on_labelled_records_and_leaves_others_alone():
    keras().utils.set_random_seed(1)
    network = keras().Sequential([keras().Input((4,)), keras().layers.Dense(3, activation="softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy")
    file, rng = save_keras(network), np.random.default_rng(0)
    x, y, held_out = rng.normal(size=(40, 4)).astype(np.float32), np.arange(40) % 3, np.arange(40) % 5 == 0
    mode = mode_of(RunSpec(run="r", model="m"))
    assert isinstance(mode, Supervised)
    learner, weights = open_learner(file), get_weights(load_keras(file))
    results = [
        mode.train(learner, weights, Examples(x, y, held_out, more), TrainingConfig(seed=3)) for more in (None, x[::-1])
    ]
    assert [result.num_examples for result in results] == [32, 32]
    assert digest(results[0].weights) == digest(results[1].weights)


def test_the_spec_picks_the_way_of_training():
    spec = RunSpec(run="r", model="m", unsupervised=True, unsupervised_rounds=3, confidence=0.8)
    assert mode_of(spec) == SemiSupervised(3, 0.8)
    assert mode_of(RunSpec(run="r", model="m", unsupervised=True)) == SemiSupervised(5, 0.9)


def few_labels(seed, labelled=30, unlabelled=570, held_out=597):
    """Return digits of which few have labels, and others to measure on, which no training has seen."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y, end = (x[order] / 16).astype(np.float32), y[order], labelled + unlabelled
    examples = Examples(x[:labelled], y[:labelled], np.zeros(labelled, bool), x[labelled:end])
    return examples, (x[end : end + held_out], y[end : end + held_out])


@pytest.fixture(scope="module")
def digits_mlp():
    """A learner of digits, and its initial weights."""
    keras().utils.set_random_seed(1)
    layers = [keras().Input((64,)), keras().layers.Dense(64, "relu"), keras().layers.Dense(10, "softmax")]
    network = keras().Sequential(layers)
    network.compile(keras().optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    file = save_keras(network)
    return open_learner(file), get_weights(load_keras(file))


def test_with_few_labels_records_without_labels_make_the_model_better(digits_mlp):
    learner, weights = digits_mlp
    config, semi_supervised, gains = TrainingConfig(epochs=30, batch_size=20), SemiSupervised(confidence=0.8), []
    for seed in range(3):
        examples, test = few_labels(seed)
        alone, both = (mode.train(learner, weights, examples, config) for mode in (Supervised(), semi_supervised))
        assert (alone.num_examples, both.num_examples) == (30, 30)
        assert both.pseudo_labelled > 100
        gains.append(np.subtract(*(learner.measure(of.weights, *test).values["accuracy"] for of in (both, alone))))
    assert min(gains) > 0
    assert np.mean(gains) > 0.02


def test_the_update_is_that_of_one_training_on_labels_and_pseudo_labels(digits_mlp):
    learner, weights = digits_mlp
    examples, _ = few_labels(3)
    config = TrainingConfig(epochs=10, batch_size=20, seed=5)
    once = SemiSupervised(rounds=1, confidence=0.5).train(learner, weights, examples, config)
    found = learner.predict(Supervised().train(learner, weights, examples, config).weights, examples.unlabelled)
    sure = found.max(axis=1) >= 0.5
    assert 0 < sure.sum() == once.pseudo_labelled < len(sure)
    x = np.concatenate([examples.x, examples.unlabelled[sure]])
    y = np.concatenate([examples.y, found[sure].argmax(axis=1)])
    plain = learner.train(weights, Examples(x, y, np.zeros(len(x), bool)), config)
    assert digest(once.weights) == digest(plain.weights)
    again = SemiSupervised(rounds=1, confidence=0.5).train(learner, weights, examples, config)
    assert digest(once.weights) == digest(again.weights)


class Scripted:
    """A learner whose predictions are given, and which counts its trainings."""

    def __init__(self, *predictions, epochs=None):
        self.predictions, self.trained_on, self.epochs = list(predictions), [], epochs

    def train(self, weights, examples, config):
        self.trained_on.append(examples.y.tolist())
        return TrainResult(
            weights, len(examples.y), None, None, None, "", epochs=self.epochs, figures={"device_seconds": 2.0}
        )

    def predict(self, weights, x):
        return np.array(self.predictions.pop(0))


SURE, UNSURE = [0.0, 1.0], [0.6, 0.4]


@pytest.mark.parametrize(
    ("learner", "trained_on", "pseudo_labelled"),
    [
        (Scripted([UNSURE, UNSURE]), [[0]], 0),
        (Scripted([SURE, UNSURE], [UNSURE, UNSURE]), [[0], [0, 1]], 1),
        (Scripted([SURE, UNSURE], [SURE, UNSURE]), [[0], [0, 1]], 1),
        (Scripted([SURE, UNSURE], [SURE, SURE], [SURE, SURE]), [[0], [0, 1], [0, 1, 1]], 2),
        (Scripted(*[[SURE, UNSURE], [UNSURE, SURE]] * 3), [[0]] + [[0, 1]] * 5, 1),
        (Scripted(epochs=1), [[0]], 0),
    ],
    ids=["none is sure", "none is sure any more", "the same", "more", "five rounds", "ended by the deadline"],
)
def test_labelling_ends_when_nothing_new_is_sure(learner, trained_on, pseudo_labelled):
    examples = Examples(np.zeros((1, 2)), np.array([0]), np.array([False]), np.zeros((2, 2)))
    result = SemiSupervised().train(learner, {}, examples, TrainingConfig(epochs=2))
    assert (learner.trained_on, result.pseudo_labelled) == (trained_on, pseudo_labelled)
    assert (result.num_examples, result.figures) == (1, {"device_seconds": 2.0 * len(trained_on)})


def test_a_closing_round_only_measures(digits_mlp):
    learner, weights = digits_mlp
    examples, _ = few_labels(0)
    held_out = replace(examples, held_out=np.ones(30, bool))
    result = SemiSupervised().train(learner, weights, held_out, TrainingConfig(measure_only=True))
    assert (result.num_examples, result.pseudo_labelled, result.weights) == (30, None, {})


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
def test_predictions_become_probabilities_whatever_the_model_returns(outputs, logits):
    keras().utils.set_random_seed(2)
    kind = keras().losses.BinaryCrossentropy if outputs == 1 else keras().losses.SparseCategoricalCrossentropy
    activation = None if logits else "sigmoid" if outputs == 1 else "softmax"
    network = keras().Sequential([keras().Input((4,)), keras().layers.Dense(outputs, activation)])
    network.compile("sgd", kind(from_logits=logits))
    x = np.random.default_rng(0).normal(size=(700, 4)).astype(np.float32)
    found = open_learner(save_keras(network)).predict(get_weights(network), x)
    assert found.shape == (700, max(2, outputs))
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
    plain = network.predict(x, verbose=0)
    if outputs == 1:
        assert np.allclose(found[:, 1], 1 / (1 + np.exp(-plain[:, 0])) if logits else plain[:, 0], atol=1e-6)
    else:
        assert np.array_equal(found.argmax(axis=1), plain.argmax(axis=1))
