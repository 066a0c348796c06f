"""Batches of a client's records as tensors of TensorFlow."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.examples import Window
from fedstream.model.inputs import gathered, to_tensors
from fedstream.model.keras_model import as_targets
from fedstream.model.learner import TrainingConfig
from fedstream.model.streaming import AnyExamples


def epochs_of_batches(model: KerasModel, examples: AnyExamples, config: TrainingConfig) -> Iterator[Iterator[Any]]:
    """Yield the batches of each epoch, in the order of one device. Memory holds the records themselves only once."""
    held = Tensors(model)
    for windows in examples.epochs(config.seed, config.epochs, config.batch_size):
        yield (batch for window in windows for batch in _batches(held, window, config.batch_size))


class Tensors:
    """The samples and labels of a window as tensors, which are kept for as long as the window stays the same.

    Args:
        model: The model that is trained on them.
    """

    def __init__(self, model: KerasModel) -> None:
        self.model = model
        self._of: Callable[[], Any] = lambda: None
        self._held: tuple[Any, Any] | None = None

    def of(self, window: Window) -> tuple[Any, Any]:
        """Return the tensors of a window."""
        if self._held is None or self._of() is not window.x:
            self._held = None  # before as much again is taken
            tf = tensorflow()
            with tf.device("CPU:0"):
                self._held = to_tensors(window.x), tf.constant(as_targets(self.model, window.y))
            self._of = weakref.ref(window.x)
        return self._held


def _batches(held: Tensors, window: Window, batch_size: int) -> Iterator[Any]:
    tf, (samples, labels) = tensorflow(), held.of(window)
    numbers = tf.data.Dataset.from_tensor_slices(window.order).batch(batch_size)
    yield from numbers.map(lambda batch: (gathered(held.model, samples, batch), tf.gather(labels, batch))).prefetch(2)
