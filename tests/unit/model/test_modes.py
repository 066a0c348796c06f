"""Ways of training, as a run's spec picks them."""

import numpy as np

from fedstream.model._tensorflow import keras
from fedstream.model.examples import Examples
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_learner import open_learner
from fedstream.model.keras_model import get_weights
from fedstream.model.learner import TrainingConfig
from fedstream.model.modes import mode_of
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
