"""Evaluate a model on labelled records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.keras_model import as_targets, num_classes
from fedstream.record.documents import CONFUSED, Metrics

MAX_INPUTS = 2**22
"""Input values in one batch: what a batch of images needs in memory is a multiple of it."""


Step = Callable[[Any, Any], tuple[Any, Any, dict[str, Any]]]
"""Measures a batch: samples and targets in, predictions, loss, and the metrics since they were reset out."""


def evaluate_model(
    model: KerasModel,
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int = 512,
    step: Step | None = None,
    reset: Callable[[], None] | None = None,
) -> Metrics:
    """Return the loss and the compiled metrics over exactly these records, and the confusion matrix of a classifier.

    Values that are not finite are left out, so a model that diverged has no `loss` here.

    Args:
        model: Compiled Keras model.
        x: Samples of shape (n, *input_shape) and any numeric dtype; n is at least 1.
        y: Labels of shape (n,), (n, 1) or (n, *output_shape).
        batch_size: Maximum number of records in memory at once.
        step: Result of `traced`; None to evaluate eagerly, which is faster for a few records of a model that is
            evaluated once.
        reset: Resets the metrics, as `MetricsReset` does; None for `model.reset_metrics`.

    Raises:
        ModelError: There is no record, or a metric does not return a single number.
    """
    tf = tensorflow()
    if not len(x):
        raise ModelError("there are no records to measure the model on")
    classes = num_classes(model)
    confusion = (
        np.zeros((classes, classes), np.int64)
        if classes and classes <= CONFUSED and len(model.outputs[0].shape) == 2
        else None
    )
    size = max(1, min(batch_size, MAX_INPUTS // max(1, x[0].size)))
    step = step or partial(_step, model)
    (reset or model.reset_metrics)()
    losses, values = [], dict[str, Any]()
    for start in range(0, len(x), size):
        batch, target = x[start : start + size], as_targets(model, y[start : start + size])
        predicted, loss, values = step(tf.cast(batch, model.inputs[0].dtype), tf.convert_to_tensor(target))
        losses.append(len(batch) * float(loss))
        if confusion is not None:
            np.add.at(confusion, (target, np.argmax(np.array(predicted), axis=-1)), 1)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        losses = [math.nan]  # the fused kernels of a graph make relu(NaN) 0, and a finite loss of it
    scores = {name: _number(name, value) for name, value in values.items()} | {"loss": math.fsum(losses) / len(x)}
    return Metrics(
        num_examples=len(x), values=finite(scores), confusion=None if confusion is None else confusion.tolist()
    )


def traced(model: KerasModel, label_shape: Sequence[int], label_type: Any) -> Step:
    """Return a step for `evaluate_model` that is traced once, for a model that is measured again and again.

    Args:
        model: Compiled Keras model.
        label_shape: Shape of one target, as returned by `as_targets`.
        label_type: Dtype of the targets.
    """
    tf, inputs = tensorflow(), model.inputs[0]
    signature = [
        tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype),
        tf.TensorSpec([None, *label_shape], label_type),
    ]
    function = tf.function(partial(_step, model), input_signature=signature, autograph=False)
    return function.get_concrete_function()  # type: ignore[no-any-return]


def _step(model: KerasModel, inputs: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
    predicted = model(inputs, training=False)
    loss = model.compute_loss(x=inputs, y=target, y_pred=predicted, training=False)
    return predicted, loss, model.compute_metrics(inputs, target, predicted)


def finite(values: dict[str, float]) -> dict[str, float]:
    """Leave out what JSON cannot spell: NaN and infinity."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _number(name: str, value: Any) -> float:
    array = np.array(value)
    if array.size != 1:
        raise ModelError(
            f"metric {name!r} yields {array.size} values; compile the model with metrics of one number (such "
            "as average='macro')"
        )
    return float(array.reshape(()))
