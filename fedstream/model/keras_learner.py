"""Keras models as learners. TensorFlow is imported when one is described or opened."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from fedstream.model._tensorflow import KerasModel, keras, set_threads
from fedstream.model.adapters import has_adapters, merged, without_adapters
from fedstream.model.devices import gpu_names, what_is_there
from fedstream.model.export import to_saved_model
from fedstream.model.files import describe, load_keras, save_keras
from fedstream.model.keras_model import set_weights
from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.prediction import Predict, class_probabilities
from fedstream.model.preprocessed import with_preprocessing
from fedstream.model.streaming import AnyExamples
from fedstream.model.training import Trainer
from fedstream.model.usage import measured
from fedstream.preprocessing.transform import Transform
from fedstream.record.documents import Metrics
from fedstream.record.weights import Weights

__all__ = ["describe", "open_learner"]


def open_learner(data: bytes, threads: int | None = None, gpu_memory_mib: int | None = None) -> Learner:
    """Load a .keras file.

    Raises:
        ModelError: TensorFlow already runs with another number of threads or another memory limit.
    """
    set_threads(threads, gpu_memory_mib)
    keras().utils.set_random_seed(0)  # a layer that draws a seed of its own as it is made; each training sets it anew
    return KerasLearner(load_keras(data, threads), data)


class KerasLearner:
    """A Keras model, loaded once."""

    def __init__(self, model: KerasModel, file: bytes) -> None:
        self._trainer, self._file = Trainer(model), file

    def train(self, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        with measured(config.threads) as used:
            result = self._trainer.train(weights, examples, config)
        passes = 1 if config.measure_only else result.epochs or config.epochs
        return replace(result, figures=used.figures(result.num_examples * passes))

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        self._with(weights)
        return self._trainer.measure(x, y)

    def predict(self, weights: Weights, x: NDArray[Any]) -> NDArray[Any]:
        self._with(weights)
        return self._probabilities(x)

    def export(self, weights: Weights, transform: Transform | None = None) -> dict[str, bytes]:
        model = self._with(weights)
        if has_adapters(model):
            model, plain = load_keras(without_adapters(self._file)), merged(model)
            set_weights(model, plain)
        if transform and transform.changes_samples:
            model = with_preprocessing(model, transform)
        return {
            "model.keras": save_keras(model),
            **{f"saved_model/{name}": data for name, data in to_saved_model(model).items()},
        }

    def why_no_gpu(self) -> str:
        return "" if gpu_names() else what_is_there()

    @cached_property
    def _probabilities(self) -> Predict:
        return class_probabilities(self._trainer.model)

    def _with(self, weights: Weights) -> KerasModel:
        self._trainer.set_weights(weights)
        return self._trainer.model
