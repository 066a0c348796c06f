"""Softmax regression in numpy, as a learner: for tests, notebooks and simulations that need no TensorFlow."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from fedstream.errors import ModelError
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.rules import finished
from fedstream.model.streaming import AnyExamples, in_memory
from fedstream.preprocessing.transform import Transform
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.description import SPARSE_LOSS, ModelDescription, VariableDescription
from fedstream.record.document import Document
from fedstream.record.documents import CONFUSED, Metrics
from fedstream.record.weights import Weights, to_bytes

DEVICE = "CPU (numpy)"
TINY = 1e-12
"""Added to a probability before its logarithm is taken."""


class SoftmaxModel(Document):
    """A model file: the JSON of this document.

    Attributes:
        input_shape: Shape of one record.
        classes: Number of classes; labels are 0, 1, ...
        scale: Factor by which samples are multiplied.
        learning_rate: Learning rate of gradient descent.
    """

    input_shape: list[int] = Field(min_length=1)
    classes: int = Field(ge=2, le=10_000)
    scale: float = Field(1.0, gt=0)
    learning_rate: float = Field(0.1, gt=0)

    def to_bytes(self) -> bytes:
        """Return the file."""
        return canonical_json(self.model_dump(mode="json"))


def describe(data: bytes, name: str) -> tuple[ModelDescription, bytes]:
    """Return a model's description, and its initial weights, which are zero, as safetensors."""
    model = _read(data)
    weights = {
        "kernel": np.zeros((math.prod(model.input_shape), model.classes), np.float32),
        "bias": np.zeros(model.classes, np.float32),
    }
    initial = to_bytes(weights)
    description = ModelDescription(
        name=name,
        input_shape=model.input_shape,
        output_shape=[model.classes],
        num_classes=model.classes,
        loss=SPARSE_LOSS,
        metrics=["accuracy"],
        variables=[
            VariableDescription(name=path, shape=list(value.shape), dtype=str(value.dtype), trainable=True)
            for path, value in weights.items()
        ],
        keras_digest=sha256_hex(data),
        weights_digest=sha256_hex(initial),
    )
    return description, initial


def open_learner(data: bytes, threads: int | None = None, gpu_memory_mib: int | None = None) -> SoftmaxLearner:
    """Read a model file.

    NumPy chooses its own number of threads, which does not affect the digests of so small a model.
    """
    return SoftmaxLearner(_read(data))


class SoftmaxLearner:
    """Softmax regression, by gradient descent on batches."""

    def __init__(self, model: SoftmaxModel) -> None:
        self._model = model

    def train(self, weights: Weights, examples: AnyExamples, config: TrainingConfig) -> TrainResult:
        whole = in_memory(examples, "a numpy model")
        x, y, held_out = whole.x, whole.y, whole.held_out
        incoming = self.measure(weights, x[held_out], y[held_out]) if held_out.any() else None
        if config.measure_only:
            return TrainResult({}, int(held_out.sum()), incoming, None, None, DEVICE)
        samples, labels = self._flat(x[~held_out]), _classes(y[~held_out])
        if not len(samples):
            raise ModelError(
                f"no record is left to train on: all {len(x)} are held out; send more records or hold out fewer"
            )
        new, epochs = self._descend(weights, samples, labels, config)
        if not all(np.isfinite(value).all() for value in new.values()):
            raise ModelError(
                "training diverged: a weight is not finite; use a smaller learning rate, or look for NaN in the records"
            )
        steps = epochs * math.ceil(len(samples) / config.batch_size)
        rate = config.learning_rate or self._model.learning_rate

        def loss() -> float:
            return self.measure(weights, x[~held_out], y[~held_out]).values["loss"]

        made = finished(config, weights, new, steps, rate, loss)
        trained = self.measure(made.weights, x[held_out], y[held_out]) if held_out.any() else None
        training = self.measure(made.weights, x[~held_out], y[~held_out])
        return TrainResult(
            made.weights,
            len(samples),
            incoming,
            trained,
            training,
            DEVICE,
            made.extras,
            made.state,
            epochs if epochs < config.epochs else None,
        )

    def measure(self, weights: Weights, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        labels, found = _classes(y), self._probabilities(weights, self._flat(x))
        predicted, own = found.argmax(axis=1), found[np.arange(len(labels)), labels]
        values = {"accuracy": float(np.mean(predicted == labels)), "loss": float(-np.mean(np.log(own + TINY)))}
        confusion = np.zeros((self._model.classes, self._model.classes), np.int64)
        np.add.at(confusion, (labels, predicted), 1)
        return Metrics(
            num_examples=len(labels),
            values=values,
            confusion=confusion.tolist() if self._model.classes <= CONFUSED else None,
        )

    def predict(self, weights: Weights, x: NDArray[Any]) -> NDArray[Any]:
        return self._probabilities(weights, self._flat(x))

    def export(self, weights: Weights, transform: Transform | None = None) -> dict[str, bytes]:
        files = {"model.json": self._model.to_bytes(), "weights.safetensors": to_bytes(weights)}
        return files | ({"preprocessing.json": canonical_json(transform.described())} if transform else {})

    def why_no_gpu(self) -> str:
        return "a numpy model trains on the processor"

    def _descend(
        self, weights: Weights, samples: NDArray[np.float64], labels: NDArray[np.int64], config: TrainingConfig
    ) -> tuple[Weights, int]:
        """Return the trained weights, and the number of finished epochs."""
        rng, rate = np.random.default_rng(config.seed), config.learning_rate or self._model.learning_rate
        new = {name: value.astype(np.float64) for name, value in weights.items()}
        for epochs in range(1, config.epochs + 1):
            order = rng.permutation(len(samples))
            for first in range(0, len(order), config.batch_size):
                batch = order[first : first + config.batch_size]
                error = self._probabilities(new, samples[batch])
                error[np.arange(len(batch)), labels[batch]] -= 1
                gradients = {"kernel": samples[batch].T @ error / len(batch), "bias": error.mean(axis=0)}
                for name, gradient in gradients.items():
                    if config.parts and name not in config.parts.trained:
                        continue
                    corrects = config.rule.corrects and (config.parts is None or name in config.parts.shared)
                    term = (
                        config.rule.gradient(name, new[name], weights[name], config.received, config.state)
                        if corrects
                        else None
                    )
                    new[name] -= rate * (gradient if term is None else gradient + term)
            if config.deadline and config.deadline.passed:
                if config.rule.partial_work:
                    return _rounded(new), epochs
                raise ModelError(
                    "training passed the round's deadline; give the round more time, or train fewer epochs"
                )
        return _rounded(new), config.epochs

    def _flat(self, x: NDArray[Any]) -> NDArray[np.float64]:
        return x.reshape(len(x), -1).astype(np.float64) * self._model.scale

    def _probabilities(self, weights: Weights, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = samples @ weights["kernel"].astype(np.float64) + weights["bias"]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _rounded(weights: Weights) -> Weights:
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _read(data: bytes) -> SoftmaxModel:
    try:
        return SoftmaxModel.model_validate(json.loads(data))
    except (ValueError, RecursionError, ValidationError) as error:
        raise ModelError(
            f"the file is not a numpy model: {error}; make one with fedstream.model.numpy_learner.SoftmaxModel"
        ) from error


def _classes(y: NDArray[Any]) -> NDArray[np.int64]:
    return y.reshape(len(y)).astype(np.int64)
