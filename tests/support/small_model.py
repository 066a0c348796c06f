"""Softmax regression in Keras on a few records, and its gradient worked out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedstream.model._tensorflow import keras
from fedstream.model.files import load_keras, save_keras

N, CLASSES = 60, 3
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, CLASSES, N)


def make(*layers: Any, optimizer: Any = None) -> Any:
    keras().utils.set_random_seed(3)
    model = keras().Sequential(
        [keras().Input((4,)), *layers, keras().layers.Dense(CLASSES, "softmax", name="classes")], name="small"
    )
    model.compile(optimizer or keras().optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return load_keras(save_keras(model))


def gradient(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of softmax regression over all records that are trained on, in float64."""
    x, y = X[np.arange(N) % 10 != 0].astype(float), Y[np.arange(N) % 10 != 0]
    logits = x @ kernel + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    difference = (p / p.sum(1, keepdims=True) - np.eye(CLASSES)[y]) / len(x)
    return x.T @ difference, difference.sum(0)
