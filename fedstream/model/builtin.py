"""Built-in models, so that a first run needs no upload. Their initial weights are always the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedstream.model._tensorflow import keras

SEED = 1602_05629
"""Of the initial weights: any fixed number does; this one is the paper's."""


def _digits_mlp(layers: Any) -> list[Any]:
    return [keras().Input((8, 8)), layers.Rescaling(1 / 16), layers.Flatten(), layers.Dense(64, "relu", name="hidden1"), layers.Dense(64, "relu", name="hidden2")]


def _mnist_2nn(layers: Any) -> list[Any]:
    """McMahan et al. 2017, section 3: two hidden layers of 200 units (199,210 parameters)."""
    return [keras().Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(200, "relu", name="hidden1"), layers.Dense(200, "relu", name="hidden2")]


def _mnist_cnn(layers: Any) -> list[Any]:
    """McMahan et al. 2017, section 3: two 5x5 convolutions (32, 64 channels), each with 2x2 max pooling, 512 units (1,663,370 parameters)."""
    return [
        keras().Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Reshape((28, 28, 1)),
        layers.Conv2D(32, 5, padding="same", activation="relu", name="conv1"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 5, padding="same", activation="relu", name="conv2"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(512, "relu", name="hidden"),
    ]


BUILTIN: dict[str, Callable[[Any], list[Any]]] = {
    "builtin:digits-mlp": _digits_mlp,
    "builtin:mnist-2nn": _mnist_2nn,
    "builtin:mnist-cnn": _mnist_cnn,
}


def build(name: str) -> Any:
    """Return a built-in model, compiled with SGD (learning rate 0.1) and accuracy."""
    library = keras()
    library.backend.clear_session()
    library.utils.set_random_seed(SEED)
    stack = [*BUILTIN[name](library.layers), library.layers.Dense(10, "softmax", name="classes")]
    model = library.Sequential(stack, name=name.removeprefix("builtin:").replace("-", "_"))
    model.compile(optimizer=library.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
