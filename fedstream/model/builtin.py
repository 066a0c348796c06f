"""Models that need no upload. Their initial weights come from fixed seeds, the same in every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, set_threads
from fedstream.model.files import save_keras
from fedstream.model.numpy_learner import SoftmaxModel

PREFIX = "builtin:"


NUMPY = {"numpy-softmax": SoftmaxModel(input_shape=[8, 8], classes=10, scale=1 / 16, learning_rate=0.5)}
"""For scikit-learn's digits, too, without TensorFlow: 650 weights."""


def builtin_names() -> list[str]:
    """Return the names of all built-in models."""
    return [PREFIX + name for name in sorted([*KERAS, *NUMPY])]


def builtin_file(name: str, threads: int | None = None, gpu_memory_mib: int | None = None) -> bytes:
    """Return the file of a built-in model.

    Args:
        name: One of `builtin_names()`.
        threads: See `set_threads`; for a process that trains later.
        gpu_memory_mib: See `set_threads`.
    """
    if found := NUMPY.get(name.removeprefix(PREFIX)):
        return found.to_bytes()
    set_threads(threads, gpu_memory_mib)
    return save_keras(build_builtin(name))


def build_builtin(name: str) -> KerasModel:
    """Return a compiled Keras model.

    Raises:
        ModelError: There is no model of this name.
    """
    if name.removeprefix(PREFIX) not in KERAS:
        raise ModelError(
            f"there is no Keras model {name!r}; built in are {', '.join(PREFIX + known for known in sorted(KERAS))}"
        )
    return KERAS[name.removeprefix(PREFIX)]()


def digits_mlp() -> KerasModel:
    """Return a model for scikit-learn's digits: 8 by 8 pixels of 0 to 16, 8,970 weights."""
    return _compile(
        "digits_mlp", (8, 8), [_scale(16), _flatten(), _dense("hidden1", 64, 1), _dense("hidden2", 64, 2), _softmax(3)]
    )


def mnist_2nn() -> KerasModel:
    """Return the 2NN of McMahan et al. (2017), which has 199,210 weights.

    Source: Communication-Efficient Learning of Deep Networks from Decentralized Data.
    """
    return _compile(
        "mnist_2nn",
        (28, 28),
        [_scale(255), _flatten(), _dense("hidden1", 200, 1), _dense("hidden2", 200, 2), _softmax(3)],
    )


def mnist_cnn() -> KerasModel:
    """Return the CNN of the same paper: 1,663,370 weights."""
    layers = keras().layers
    convolutions = [
        _scale(255),
        layers.Reshape((28, 28, 1), name="channel"),
        layers.Conv2D(32, 5, padding="same", activation="relu", kernel_initializer=_uniform(1), name="conv1"),
        layers.MaxPooling2D(name="pool1"),
        layers.Conv2D(64, 5, padding="same", activation="relu", kernel_initializer=_uniform(2), name="conv2"),
        layers.MaxPooling2D(name="pool2"),
        _flatten(),
    ]
    return _compile("mnist_cnn", (28, 28), [*convolutions, _dense("hidden", 512, 3), _softmax(4)])


KERAS: dict[str, Callable[[], KerasModel]] = {"digits-mlp": digits_mlp, "mnist-2nn": mnist_2nn, "mnist-cnn": mnist_cnn}


def _compile(name: str, shape: tuple[int, ...], layers: list[Any]) -> KerasModel:
    model = keras().Sequential([keras().Input(shape, name="record"), *layers], name=name)
    model.compile(
        optimizer=keras().optimizers.SGD(0.1, name="sgd"), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def _scale(largest: int) -> Any:
    return keras().layers.Rescaling(1 / largest, name="scale")


def _flatten() -> Any:
    return keras().layers.Flatten(name="flatten")


def _dense(name: str, units: int, seed: int, activation: str = "relu") -> Any:
    return keras().layers.Dense(units, activation=activation, kernel_initializer=_uniform(seed), name=name)


def _softmax(seed: int) -> Any:
    return _dense("classes", 10, seed, "softmax")


def _uniform(seed: int) -> Any:
    return keras().initializers.GlorotUniform(seed=seed)
