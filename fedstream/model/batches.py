"""Batches of a client's records as data sets of TensorFlow, for a model on several devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.inputs import gathered, to_tensors
from fedstream.model.keras_model import as_targets
from fedstream.model.learner import TrainingConfig
from fedstream.model.shuffle import orders


def epochs_of_batches(
    model: KerasModel, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig
) -> Iterator[Any]:
    """Yield the batches of each epoch, in the order of one device. Memory holds the records themselves only once."""
    tf = tensorflow()
    with tf.device("CPU:0"):
        samples, labels = to_tensors(x), tf.constant(as_targets(model, y))
    for order in orders(index, config.seed, config.epochs):
        numbers = tf.data.Dataset.from_tensor_slices(order).batch(config.batch_size)
        yield numbers.map(lambda batch: (gathered(model, samples, batch), tf.gather(labels, batch))).prefetch(2)
