"""Evaluate a model on labelled records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.inputs import as_inputs, input_specs, is_finite, to_tensors, values_of
from fedstream.model.keras_model import as_targets, num_classes
from fedstream.model.outputs import for_outputs, loss_names, named, result
from fedstream.model.outputs import losses as output_losses
from fedstream.record.documents import CONFUSED, Metrics

MAX_INPUTS = 2**22
"""Input values in one batch: what a batch of images needs in memory is a multiple of it."""


Part = tuple[np.ndarray, np.ndarray]
"""Samples and labels."""

Step = Callable[[Any, Any], tuple[Any, Any, dict[str, Any]]]
"""Measures a batch: samples and targets in, predictions, loss, and the metrics since they were reset out."""


def evaluate_model(model: KerasModel, x: np.ndarray, y: np.ndarray, batch_size: int = 512) -> Metrics:
    """Return the metrics over these records. See `evaluate_parts`.

    Args:
        model: Compiled Keras model.
        x: Samples of shape (n, *input_shape) and any numeric dtype; n is at least 1.
        y: Labels of shape (n,), (n, 1) or (n, *output_shape).
        batch_size: Maximum number of records in memory at once.
    """
    return evaluate_parts(model, [(x, y)], batch_size)


def evaluate_parts(
    model: KerasModel,
    parts: Iterable[Part],
    batch_size: int = 512,
    step: Step | None = None,
    reset: Callable[[], None] | None = None,
) -> Metrics:
    """Return the loss and the compiled metrics over exactly these records, and the confusion matrix of a classifier.

    Values that are not finite are left out, so a model that diverged has no `loss` here.

    Args:
        model: Compiled Keras model.
        parts: Samples and labels of some records each. The result does not depend on how they are divided.
        batch_size: Maximum number of records in a batch.
        step: Result of `traced`; None to evaluate eagerly, which is faster for a few records of a model that is
            evaluated once.
        reset: Resets the metrics, as `MetricsReset` does; None for `model.reset_metrics`.

    Raises:
        ModelError: There is no record, or a metric does not return a single number.
    """
    tf, classes = tensorflow(), num_classes(model)
    confusion = (
        np.zeros((classes, classes), np.int64)
        if classes and classes <= CONFUSED and len(model.outputs[0].shape) == 2
        else None
    )
    step = step or partial(_step, model)
    (reset or model.reset_metrics)()
    losses, values = {name: list[float]() for name in ("loss", *loss_names(model))}, dict[str, Any]()
    count, sound = 0, True
    for x, y in _batches(parts, batch_size):
        target = as_targets(model, y)
        predicted, loss, values = step(as_inputs(model, to_tensors(x)), tf.convert_to_tensor(target))
        for name, kept in losses.items():
            kept.append(len(x) * float(loss if name == "loss" else values[name]))
        count += len(x)
        # The fused kernels of a graph make relu(NaN) 0, and a finite loss of it.
        sound = sound and is_finite(x)
        if confusion is not None:
            np.add.at(confusion, (target, np.argmax(np.array(predicted), axis=-1)), 1)
    if not count:
        raise ModelError("there are no records to measure the model on")
    scores = {name: _number(name, value) for name, value in values.items()}
    scores |= {name: math.fsum(kept) / count for name, kept in losses.items()} | ({} if sound else {"loss": math.nan})
    return Metrics(
        num_examples=count,
        values=finite(named(model, scores)),
        confusion=None if confusion is None else confusion.tolist(),
    )


def _batches(parts: Iterable[Part], batch_size: int) -> Iterator[Part]:
    """Yield the records in batches that do not depend on the parts."""
    left: Part | None = None
    for part in parts:
        x, y = (np.concatenate(both) for both in zip(left, part, strict=True)) if left else part
        if not len(x):
            continue
        size = max(1, min(batch_size, MAX_INPUTS // max(1, values_of(x))))
        whole = len(x) // size * size
        yield from ((x[start : start + size], y[start : start + size]) for start in range(0, whole, size))
        left = (x[whole:], y[whole:]) if whole < len(x) else None
    if left:
        yield left


def traced(model: KerasModel, label_shape: Sequence[int], label_type: Any) -> Step:
    """Return a step for `evaluate_model` that is traced once, for a model that is measured again and again.

    Args:
        model: Compiled Keras model.
        label_shape: Shape of one target, as returned by `as_targets`.
        label_type: Dtype of the targets.
    """
    tf = tensorflow()
    signature = [input_specs(model), tf.TensorSpec([None, *label_shape], label_type)]
    function = tf.function(partial(_step, model), input_signature=signature, autograph=False)
    return function.get_concrete_function()  # type: ignore[no-any-return]


def _step(model: KerasModel, inputs: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
    predicted = model(inputs, training=False)
    shared = for_outputs(model, target)
    loss = model.compute_loss(x=inputs, y=shared, y_pred=predicted, training=False)
    values = model.compute_metrics(inputs, shared, predicted) | output_losses(model, target, predicted)
    return result(predicted), loss, values


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
