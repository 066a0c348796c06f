"""Train a model on one client's records: tf.data and Keras' fit, everything seeded."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedstream.errors import DeadlineError, ModelError
from fedstream.model._tensorflow import configure, keras, tensorflow
from fedstream.model.evaluation import evaluate_model
from fedstream.model.files import get_weights
from fedstream.store.documents import Metrics
from fedstream.store.weights import Weights


@dataclass(frozen=True)
class TrainingConfig:
    """How a client trains.

    Attributes:
        epochs: passes over the training records.
        batch_size: records in one optimizer step.
        learning_rate: None for the one the model was compiled with.
        seed: of shuffles and dropout.
        threads: TensorFlow's intra-op threads.
        measure_only: measure the incoming model and train nothing.
        deadline: time.monotonic() after which training is given up; None for never.
    """

    epochs: int
    batch_size: int
    learning_rate: float | None
    seed: int
    threads: int
    measure_only: bool = False
    deadline: float | None = None


@dataclass(frozen=True)
class TrainResult:
    """What came of it.

    Attributes:
        weights: after training; as received when only measured.
        num_examples: records trained on; when only measured, records measured.
        incoming: the received model on the held-out records; None where none are held out.
        trained: the trained model on them; None too when only measured.
        training: Keras' metrics of the last epoch; None when only measured.
        device: what it ran on, such as `cpu` or a GPU's name.
    """

    weights: Weights
    num_examples: int
    incoming: Metrics | None
    trained: Metrics | None
    training: Metrics | None
    device: str


def prepare(config: TrainingConfig) -> None:
    """Fix seeds and threads; call it before the model is loaded.

    Raises:
        ModelError: this process already runs TensorFlow with another number of threads.
    """
    configure(config.threads, config.seed)


def train_client(model: Any, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, config: TrainingConfig) -> TrainResult:
    """Measure the incoming model, train it, measure it again.

    Args:
        model: a compiled Keras model with the round's global weights.
        x: samples (n, ...).
        y: labels (n, ...).
        held_out: bool (n,); true for records that are measured on, and never trained on.
        config: how to train.

    Raises:
        ModelError: no record is left to train on, or training diverged.
        DeadlineError: training took too long.
    """
    train_x, train_y, test_x, test_y = x[~held_out], y[~held_out], x[held_out], y[held_out]
    incoming = evaluate_model(model, test_x, test_y) if len(test_x) else None
    if config.measure_only:
        return TrainResult(get_weights(model), len(test_x), incoming, None, None, _device())
    if not len(train_x):
        raise ModelError(f"all {len(x)} records are held out, so none is left to train on; announce more records or a smaller validation_rate")
    if config.learning_rate is not None:
        _set_learning_rate(model, config.learning_rate)
    history = model.fit(_batches(train_x, train_y, config), epochs=config.epochs, verbose=0, shuffle=False, callbacks=[_deadline(config)])
    values = {name: float(series[-1]) for name, series in history.history.items()}
    weights = get_weights(model)
    if not all(math.isfinite(value) for value in values.values()) or not all(np.isfinite(w).all() for w in weights.values() if np.issubdtype(w.dtype, np.floating)):
        raise ModelError(f"training diverged: {', '.join(f'{name} is {value:g}' for name, value in values.items())}; use a smaller learning rate")
    trained = evaluate_model(model, test_x, test_y) if len(test_x) else None
    return TrainResult(weights, len(train_x), incoming, trained, Metrics(num_examples=len(train_x), values=values), _device())


def _batches(x: np.ndarray, y: np.ndarray, config: TrainingConfig) -> Any:
    """Return batches in an order that only the seed decides, another one in each epoch."""
    data = tensorflow().data
    records = data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=config.seed, reshuffle_each_iteration=True)
    return records.batch(min(config.batch_size, len(x))).prefetch(2)


def _set_learning_rate(model: Any, rate: float) -> None:
    try:
        model.optimizer.learning_rate = rate
    except TypeError as error:
        raise ModelError("the model was compiled with a learning rate schedule, which a run cannot override; set learning_rate to 0, or compile it with a number") from error


def _deadline(config: TrainingConfig) -> Any:
    class Deadline(keras().callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if config.deadline is not None and time.monotonic() > config.deadline:
                raise DeadlineError("training was not finished before the round's deadline; give it more time, or fewer epochs")

    return Deadline()


def _device() -> str:
    config = tensorflow().config
    gpus = config.list_physical_devices("GPU")
    return str(config.experimental.get_device_details(gpus[0]).get("device_name", "gpu")) if gpus else "cpu"
