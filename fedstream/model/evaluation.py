"""Measure a model on records. Needs TensorFlow, through the model it is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fedstream.errors import ModelError
from fedstream.model.description import SPARSE_LOSS
from fedstream.model.files import loss_name
from fedstream.store.documents import Metrics

BATCH_SIZE = 512
"""Records in one forward pass; large, as nothing is learned from them."""

MAX_CLASSES = 100
"""Classes a confusion matrix may have: beyond, its counts would outweigh the manifest."""


def evaluate_model(model: Any, x: np.ndarray, y: np.ndarray, batch_size: int = BATCH_SIZE) -> Metrics:
    """Measure loss, compiled metrics and, for class numbers, the confusion matrix.

    Args:
        model: a compiled Keras model.
        x: samples (n, ...), n at least 1.
        y: labels (n, ...).
        batch_size: records in one forward pass.

    Raises:
        ModelError: a metric is not finite: the model has diverged.
    """
    results = model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
    values = {name: float(value) for name, value in results.items()}
    if bad := sorted(name for name, value in values.items() if not math.isfinite(value)):
        raise ModelError(f"{bad[0]} of the model is {values[bad[0]]}: training has diverged; use a smaller learning rate")
    return Metrics(num_examples=len(x), values=values, confusion=_confusion(model, x, y, batch_size))


def _confusion(model: Any, x: np.ndarray, y: np.ndarray, batch_size: int) -> list[list[int]] | None:
    classes = model.output_shape[-1]
    if loss_name(model) != SPARSE_LOSS or len(model.output_shape) != 2 or classes > MAX_CLASSES:
        return None
    predicted = np.argmax(model.predict(x, batch_size=batch_size, verbose=0), axis=-1)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (y.reshape(-1).astype(np.int64), predicted), 1)
    return counts.tolist()
