"""Batches of a client's records as a data set of TensorFlow, for a model on several devices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.model._tensorflow import tensorflow
from fedstream.model.keras_model import as_targets
from fedstream.model.learner import TrainingConfig


def batches(model: Any, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig) -> Any:
    """Return batches of records, for a model on several devices."""
    tf = tensorflow()
    dtype = model.inputs[0].dtype
    with tf.device("CPU:0"):
        samples, labels = tf.constant(x), tf.constant(as_targets(model, y))
        batches = _shuffled(index, config.seed).batch(config.batch_size)
        return batches.map(
            lambda batch: (tf.cast(tf.gather(samples, batch), dtype), tf.gather(labels, batch))
        ).prefetch(2)


def _shuffled(index: NDArray[np.intp], seed: int) -> Any:
    """Return record numbers in another order on each pass. Memory holds the records themselves only once.

    The order is that of `Dataset.shuffle` after `tf.random.set_seed`, which would make TensorFlow discard and optimize
    again all traced functions.
    """
    tf = tensorflow()
    variant = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(tf.data.Dataset.from_tensor_slices(index)),
        buffer_size=len(index),
        seed=seed,
        seed2=seed,
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        output_types=[tf.int64],
        output_shapes=[[]],
        reshuffle_each_iteration=True,
        metadata="",
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.int64))
