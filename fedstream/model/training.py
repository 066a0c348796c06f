"""Local training: from a global model and a client's records to new weights and metrics. Must not know Kafka or the store."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError
from fedstream.model._tensorflow import configure, keras, tensorflow
from fedstream.model.devices import device_name, gpu_names
from fedstream.model.evaluation import evaluate_model, finite
from fedstream.model.examples import Examples
from fedstream.model.keras_model import as_targets, get_weights, set_weights, to_numpy
from fedstream.model.rules import corrected, finished
from fedstream.model.twin import fit_mirrored, twin_of
from fedstream.record.documents import Metrics
from fedstream.record.local_rule import NO_RULE, LocalRule, LocalTraining
from fedstream.record.weights import Weights

STEPS_PER_EXECUTION = 32
"""Optimizer steps in one call of the graph: a step of a small model takes 0.3 ms, each call from Python 1.5 ms more."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one client trains in one round.

    Attributes:
        epochs: passes over the training records.
        batch_size: records in one optimizer step; the last one of an epoch may have fewer.
        learning_rate: of the optimizer; None for the one the model was compiled with.
        seed: of shuffling and of layers such as Dropout, in [0, 2**31).
        threads: TensorFlow's intra-op threads.
        mixed_precision: train in half precision; weights stay float32, and the model is measured in float32.
        measure_only: measure the received model and train nothing.
        deadline: `time.monotonic()` at which training is given up; None for never.
        rule: what the strategy asks for beside plain training.
        received: arrays that came with the global model, for the rule; name -> array.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float | None = None
    seed: int = 0
    threads: int = 2
    mixed_precision: bool = False
    measure_only: bool = False
    deadline: float | None = None
    rule: LocalRule = NO_RULE
    received: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """What a client's training came to.

    Attributes:
        weights: name -> array; empty when only measured.
        num_examples: records trained on; when only measured, records measured on.
        incoming: the received model on the held-out records; None without such records.
        trained: the trained model on them; None without such records, or when only measured.
        training: means over the last epoch while the weights were changing; None when only measured.
        device: what it ran on.
        extras: arrays that the local rule sends back beside the weights; name -> array.
    """

    weights: Weights
    num_examples: int
    incoming: Metrics | None
    trained: Metrics | None
    training: Metrics | None
    device: str
    extras: Weights = field(default_factory=dict)


def train_client(
    model: Any,
    examples: Examples,
    config: TrainingConfig,
    devices: Sequence[str] | None = None,
) -> TrainResult:
    """Train a model on a client's records and measure it, before and after, on those held out.

    A pure function of its arguments, on one kind of processor: the result depends on nothing the process did before. The model is left with the new
    weights, but with the optimizer's state it came with, so that it can be used again.

    Args:
        model: compiled Keras model that holds the global weights, loaded after `configure(config.threads, ...)`.
        examples: the records; those without labels are left alone.
        config: how to train.
        devices: TensorFlow's names of those to train on, the same batches dealt out to all of them; None for every GPU there is, or the processor.

    Raises:
        ModelError: no record is left to train on, training diverged or passed its deadline, or the learning rate cannot be set.
    """
    configure(config.threads, config.seed)
    devices = gpu_names() if devices is None else devices
    name = device_name(devices)
    x, y = examples.x, examples.y
    trained_on = np.flatnonzero(~examples.held_out)
    measured_on = np.flatnonzero(examples.held_out)
    incoming = _measure(model, x, y, measured_on)
    if config.measure_only:
        return TrainResult({}, len(measured_on), incoming, None, None, name)
    if not len(trained_on):
        raise ModelError(f"no record is left to train on: all {len(x)} are held out; send more records or hold out fewer")
    learner = twin_of(model, devices, config.mixed_precision) if len(devices) > 1 or config.mixed_precision else model
    start = get_weights(model)
    with _fresh(learner, config), corrected(learner, config.rule, start, config.received):
        values = _fit(learner, x, y, trained_on, config, mirrored=len(devices) > 1)
        learning_rate = _learning_rate(learner)
    trained = get_weights(learner)
    _check_finite(trained, values, config)
    steps = config.epochs * math.ceil(len(trained_on) / config.batch_size)
    weights, extras = finished(config.rule, LocalTraining(start, trained, config.received, steps, learning_rate, config.seed))
    if learner is not model or weights is not trained:
        set_weights(model, weights)
    training = Metrics(num_examples=len(trained_on), values=finite(values))
    return TrainResult(weights, len(trained_on), incoming, _measure(model, x, y, measured_on), training, name, extras)


def _measure(model: Any, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp]) -> Metrics | None:
    return evaluate_model(model, x[index], y[index]) if len(index) else None


def _fit(model: Any, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig, mirrored: bool) -> dict[str, float]:
    batches, deadline = _batches(model, x, y, index, config), _Deadline(config.deadline)
    if mirrored:
        return fit_mirrored(model, batches, config.epochs, deadline.check)

    def check(batch: int, logs: dict[str, float]) -> None:
        deadline.check(batch)
        _check_loss(logs["loss"], config)  # Keras' TerminateOnNaN would print to standard output, where --json has its document

    guard = keras().callbacks.LambdaCallback(on_train_batch_end=check)
    history = model.fit(batches, epochs=config.epochs, callbacks=[guard], shuffle=False, verbose=0).history
    return {name: float(values[-1]) for name, values in history.items()}


def _batches(model: Any, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig) -> Any:
    """Return batches in another order each epoch. Record numbers are shuffled, not records, so memory holds the records once."""
    tf = tensorflow()
    dtype = model.inputs[0].dtype
    with tf.device("CPU:0"):
        samples, labels = tf.constant(x), tf.constant(as_targets(model, y))
        numbers = tf.data.Dataset.from_tensor_slices(index).shuffle(len(index), seed=config.seed, reshuffle_each_iteration=True)
        batches = numbers.batch(config.batch_size)
        return batches.map(lambda batch: (tf.cast(tf.gather(samples, batch), dtype), tf.gather(labels, batch))).prefetch(2)


@contextmanager
def _fresh(model: Any, config: TrainingConfig) -> Iterator[None]:
    """Set up the model for one training, and give its optimizer back as it was."""
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    before = [to_numpy(variable) for variable in optimizer.variables]
    # XLA would take seconds to compile what a small client computes in less, and has its own rounding.
    model.jit_compile = False
    if model.steps_per_execution != STEPS_PER_EXECUTION:
        model.steps_per_execution, model.train_function = STEPS_PER_EXECUTION, None
    _seed_generators(model, config.seed)
    try:
        if config.learning_rate is not None:
            optimizer.learning_rate = config.learning_rate
        yield
    except TypeError as error:
        if "LearningRateSchedule" not in str(error):
            raise
        raise ModelError(f"model {model.name!r} is compiled with a learning rate schedule, so no other can be set; use learning rate 0") from error
    finally:
        for variable, value in zip(optimizer.variables, before, strict=True):
            variable.assign(value)


def _learning_rate(model: Any) -> float:
    rate = model.optimizer.learning_rate
    return float(to_numpy(rate) if isinstance(rate, keras().Variable) else rate)


def _seed_generators(model: Any, seed: int) -> None:
    """Start the generators of Dropout and the like from the seed: a loaded model carries their state from the file, the same in every round."""
    weights = {id(variable) for variable in model.weights}
    generators = [variable for variable in model.non_trainable_variables if id(variable) not in weights]
    for number, variable in enumerate(generators):
        derived = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big") >> 1
        variable.assign(np.array([derived, 0], dtype=variable.dtype))


def _check_loss(loss: float, config: TrainingConfig) -> None:
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss}", config)


def _check_finite(weights: Weights, values: dict[str, float], config: TrainingConfig) -> None:
    _check_loss(values.get("loss", math.nan), config)
    for name, array in weights.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise _diverged(f"variable {name!r} is not finite", config)


def _diverged(what: str, config: TrainingConfig) -> ModelError:
    rate = "the compiled learning rate" if config.learning_rate is None else f"learning rate {config.learning_rate:g}"
    return ModelError(f"training diverged with {rate}: {what}; use a smaller rate, or look for NaN in the records")


class _Deadline:
    """Gives training up when its time is over; looked at every STEPS_PER_EXECUTION steps."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline

    def check(self, batch: int, logs: Any = None) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ModelError(f"training passed the round's deadline at step {batch + 1} of an epoch; give the round more time, or train fewer epochs")
