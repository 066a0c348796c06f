"""The model that trains in a global model's place: a twin of it, in half precision or on several devices."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from fedstream.model._tensorflow import KerasModel, keras, tensorflow
from fedstream.model.files import load_keras, save_keras
from fedstream.model.inputs import zero_inputs
from fedstream.model.keras_model import as_targets, num_classes
from fedstream.model.outputs import for_outputs
from fedstream.model.progress import Progress


def twin_of(model: KerasModel, devices: Sequence[str], mixed_precision: bool) -> KerasModel:
    """Return a copy of a compiled model, with its weights and its optimizer's state.

    The model itself stays as it is, so that it is measured on one device in float32: as it will be published.

    Args:
        model: Compiled Keras model.
        devices: TensorFlow's names; the copy of a model on more than one is mirrored on all of them.
        mixed_precision: Whether the copy computes in half precision.
    """
    strategy = _mirrored(tuple(devices)) if len(devices) > 1 else None
    data = save_keras(model)
    with strategy.scope() if strategy else nullcontext():
        twin = load_keras(data)
        if mixed_precision:
            compute_in_half(twin, "mixed_float16" if devices and devices[0].startswith("GPU") else "mixed_bfloat16")
    if strategy:
        _build_metrics(twin)
    return twin


def compute_in_half(model: KerasModel, policy: str) -> None:
    """Make a compiled model compute in float16, with loss scaling, or in bfloat16, which needs none.

    Variables stay float32 under the same names. So do the computations of the output layers, to keep the precision of
    softmax and loss, and of the layers that scale raw records, which can be too large for float16. A layer with an
    explicit dtype keeps it.

    Keras' global policy would do nothing: a loaded layer has the policy that was saved with it.

    Args:
        model: Loaded model, before its first step.
        policy: `mixed_float16`, for GPUs, or `mixed_bfloat16`, for processors, which are slow at float16.
    """
    exact, layers = _output_layers(model), keras().layers
    for layer in model._flatten_layers(include_self=False):
        # A model has no computation of its own, but would convert what comes in.
        kept = layer in exact or isinstance(layer, keras().Model | layers.Rescaling | layers.Normalization)
        if not kept and layer.dtype_policy.name == "float32":
            layer.dtype_policy = policy
    if policy == "mixed_float16":
        model.optimizer = keras().optimizers.LossScaleOptimizer(model.optimizer)
        model.optimizer.build(model.trainable_variables)


def fit_mirrored(model: KerasModel, epochs: Iterable[Iterable[Any]], progress: Progress) -> None:
    """Train a mirrored model as `fit` trains a plain one.

    Each batch is distributed to the devices, and its records are weighted so that the gradients of all devices add up
    to the gradient of the whole batch.
    `fit` would halve a last batch that reaches only one of two devices, and does not repeat the order of one device.

    Args:
        model: A twin on several devices.
        epochs: Batches of each epoch: pairs of samples and labels.
        progress: Hears of each step and each epoch.
    """
    tf, strategy = tensorflow(), model.distribute_strategy
    step = tf.function(lambda shares: strategy.run(model.train_step, args=(shares,)), reduce_retracing=True)
    for batches in epochs:
        model.reset_metrics()
        for number, (samples, labels) in enumerate(batches):
            progress.check(number)
            shares = [_share(model, samples, labels, replica) for replica in range(strategy.num_replicas_in_sync)]
            step(
                strategy.experimental_distribute_values_from_function(
                    lambda context, s=shares: s[context.replica_id_in_sync_group]
                )
            )
        values = {name: float(value) for name, value in model.get_metrics_result().items()}
        progress.finished_epoch(values)
        if not math.isfinite(values["loss"]):
            break


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the only strategy of these devices.

    A second strategy would reuse the numbers of the first one's collective operations, and fail.
    """
    return tensorflow().distribute.MirroredStrategy(devices)


def _share(model: KerasModel, samples: Any, labels: Any, replica: int) -> tuple[Any, Any, Any]:
    """Return a device's part of a batch, with weights.

    If there are fewer records than devices, a device without records gets one of weight 0.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    records = len(range(replica, len(labels), replicas))
    mine = slice(replica, None, replicas) if records else slice(1)
    weight = np.float32(records * replicas / len(labels))
    shape = (max(1, records), *[1] * (len(model.outputs[0].shape) - 2))  # as many axes as the loss of a batch has
    tf = tensorflow()
    own = tf.nest.map_structure(lambda part: part[mine], samples)
    return own, for_outputs(model, labels[mine]), tf.fill(shape, weight)


def _build_metrics(model: KerasModel) -> None:
    """Make the metrics' variables, which cannot be made in the middle of a step on several devices."""
    shape = model.outputs[0].shape[1:] if num_classes(model) is None else model.outputs[0].shape[1:-1]
    target = as_targets(model, np.zeros((1, *shape), np.float32))
    model.test_on_batch(zero_inputs(model, 1), for_outputs(model, target))


def _output_layers(model: KerasModel) -> list[Any]:
    outputs = [tensor._keras_history.operation for tensor in model.outputs]
    return [
        inner
        for layer in outputs
        for inner in (_output_layers(layer) if isinstance(layer, keras().Model) else layer._flatten_layers())
    ]
