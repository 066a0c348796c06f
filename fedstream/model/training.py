"""Local training: from a global model and a client's records to new weights and metrics.

Must not depend on Kafka or the store.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, set_threads, tensorflow
from fedstream.model.batches import epochs_of_batches
from fedstream.model.corrections import Corrections
from fedstream.model.devices import device_name, gpu_names
from fedstream.model.evaluation import evaluate_model, finite, traced
from fedstream.model.examples import Examples
from fedstream.model.keras_model import as_targets, check_shapes, get_weights, shapes_of, travelling
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.progress import Progress
from fedstream.model.rules import finished, fixed
from fedstream.model.shuffle import orders
from fedstream.model.twin import fit_mirrored, twin_of
from fedstream.model.variables import MetricsReset, Restored, Variables
from fedstream.record.documents import Metrics
from fedstream.record.weights import Weights

STEPS_PER_CALL = 32
"""Optimizer steps in one call of the graph: a step of a small model takes 0.3 ms, each call from Python 1.5 ms more."""


def train_client(
    model: KerasModel, examples: Examples, config: TrainingConfig, devices: Sequence[str] | None = None
) -> TrainResult:
    """Train a model that holds the global weights, once. See `Trainer`, which can go on with the next client."""
    return Trainer(model).train(get_weights(model), examples, config, devices)


class Trainer:
    """Train one client after another with the same model.

    The traced functions are kept, but nothing else carries over from one training to the next. Therefore the result of
    a training is a pure function of its arguments, on one kind of processor.

    Args:
        model: Compiled Keras model, loaded after `configure(threads, ...)`.
    """

    def __init__(self, model: KerasModel) -> None:
        self.model = model
        self._traced: dict[Any, Any] = {}
        self._twins: dict[tuple[tuple[str, ...], bool], Trainer] = {}
        self._corrections = Corrections(model)
        self._shapes, self._variables = shapes_of(travelling(model)), Variables(travelling(model))
        self._reset_metrics = MetricsReset(model)
        self._restore_optimizer: Restored | None = None

    def train(
        self, weights: Weights, examples: Examples, config: TrainingConfig, devices: Sequence[str] | None = None
    ) -> TrainResult:
        """Train global weights on a client's records, and measure before and after on those held out.

        The model is left with the new weights, and with the state of the optimizer that it came with.

        Args:
            weights: Weights of the global model.
            examples: The client's records; records without labels are ignored.
            config: Configuration of the training.
            devices: TensorFlow's names of the devices that share each batch; None for all GPUs, or the processor if
                there is no GPU.

        Raises:
            ModelError: No record is left to train on, training diverged or passed its deadline, or the learning rate
                cannot be set.
        """
        set_threads(config.threads)
        devices = gpu_names() if devices is None else devices
        name = device_name(devices)
        x, y, held_out = examples.x, examples.y, examples.held_out
        trained_on, measured_on = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.set_weights(weights)
        incoming = self._measure(x, y, measured_on)
        if config.measure_only:
            return TrainResult({}, len(measured_on), incoming, None, None, name)
        if not len(trained_on):
            raise ModelError(
                f"no record is left to train on: all {len(x)} are held out; send more records or hold out fewer"
            )
        learner = self._twin(devices, config.mixed_precision) if len(devices) > 1 or config.mixed_precision else self
        if learner is not self:
            learner.set_weights(weights)
        with learner._fresh(config), learner._corrections.added(config, weights):
            progress = Progress(learner.model, config.deadline, config.rule.partial_work)
            fit = learner._fit_mirrored if len(devices) > 1 else learner._fit
            fit(x, y, trained_on, config, progress)
            values, rate = progress.values, learner._learning_rate()
        trained = learner._variables.read()
        _check_finite(trained, values, config)
        steps = progress.epochs * math.ceil(len(trained_on) / config.batch_size)

        def loss() -> float:
            self.set_weights(weights)
            measured = self.measure(x[trained_on], y[trained_on]).values
            self.set_weights(trained)
            return measured.get("loss", math.nan)

        made = finished(config, weights, trained, steps, rate, loss)
        if learner is not self or made.weights is not trained:
            self.set_weights(made.weights)
        training = Metrics(num_examples=len(trained_on), values=finite(values))
        return TrainResult(
            made.weights,
            len(trained_on),
            incoming,
            self._measure(x, y, measured_on),
            training,
            name,
            made.extras,
            made.state,
            progress.epochs if progress.epochs < config.epochs else None,
        )

    def set_weights(self, weights: Weights) -> None:
        """Set the model's weights.

        Raises:
            ModelError: Names or shapes do not match the model's.
        """
        check_shapes(self.model, self._shapes, weights)
        self._variables.assign(weights)

    def measure(self, x: NDArray[Any], y: NDArray[Any]) -> Metrics:
        """Measure the weights that the model has now on labelled records."""
        target = as_targets(self.model, y[:1])
        key = ("measure", target.shape[1:], target.dtype)
        if key not in self._traced:
            self._traced[key] = traced(self.model, target.shape[1:], target.dtype)
        return evaluate_model(self.model, x, y, step=self._traced[key], reset=self._reset_metrics)

    @contextmanager
    def _fresh(self, config: TrainingConfig) -> Iterator[None]:
        """Set up the model for one training, and give its optimizer back as it was."""
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        if self._restore_optimizer is None:
            self._restore_optimizer = Restored(optimizer.variables)
        # XLA would take seconds to compile what a small client computes in less, and has its own rounding.
        self.model.jit_compile = False
        _seed(self._generators, config.seed)
        try:
            if config.learning_rate is not None:
                self._set_learning_rate(config.learning_rate)
            yield
        except TypeError as error:
            if "LearningRateSchedule" not in str(error):
                raise
            raise ModelError(
                f"model {self.model.name!r} is compiled with a learning rate schedule, so no other can be set; "
                "use learning rate 0"
            ) from error
        finally:
            self._restore_optimizer()

    @cached_property
    def _generators(self) -> list[Any]:
        """The random generators of layers such as Dropout, which are not weights to Keras."""
        weights = {id(variable) for variable in self.model.weights}
        return [variable for variable in self.model.non_trainable_variables if id(variable) not in weights]

    @cached_property
    def _rate(self) -> Variables | None:
        """The variable of the optimizer's learning rate; None if it has a schedule."""
        rate = self.model.optimizer.learning_rate
        return Variables({"rate": rate}) if isinstance(rate, keras().Variable) else None

    def _set_learning_rate(self, value: float) -> None:
        if self._rate:
            self._rate.assign({"rate": np.asarray(value)})
        else:
            self.model.optimizer.learning_rate = value  # raises a TypeError

    def _learning_rate(self) -> float:
        return float(self._rate.read()["rate"] if self._rate else self.model.optimizer.learning_rate)

    def _twin(self, devices: Sequence[str], mixed_precision: bool) -> Trainer:
        key = (tuple(devices), mixed_precision)
        if key not in self._twins:
            self._twins[key] = Trainer(twin_of(self.model, devices, mixed_precision))
        return self._twins[key]

    def _measure(self, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp]) -> Metrics | None:
        return self.measure(x[index], y[index]) if len(index) else None

    def _fit(
        self, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig, progress: Progress
    ) -> None:
        """Train like Keras' `fit`, in a function that is traced once for all clients; `fit` traces one per client."""
        tf, model = tensorflow(), self.model
        with tf.device("CPU:0"):
            samples, labels = tf.constant(x), tf.constant(as_targets(model, y))
        steps, values = self._steps(samples, labels, config), dict[str, float]()
        with progress.until_deadline(), fixed(model, config.parts):
            for order in orders(index, config.seed, config.epochs):
                self._reset_metrics()
                for first in range(0, len(order), STEPS_PER_CALL * config.batch_size):
                    some = order[first : first + STEPS_PER_CALL * config.batch_size]
                    values = {name: float(value) for name, value in steps(samples, labels, tf.constant(some)).items()}
                    _check_loss(values["loss"], config)
                    if first + len(some) == len(order):
                        progress.finished_epoch(values)
                    progress.check((first + len(some) - 1) // config.batch_size)
        model.optimizer.finalize_variable_values(model.trainable_weights)

    def _fit_mirrored(
        self, x: NDArray[Any], y: NDArray[Any], index: NDArray[np.intp], config: TrainingConfig, progress: Progress
    ) -> None:
        with progress.until_deadline(), fixed(self.model, config.parts):
            fit_mirrored(self.model, epochs_of_batches(self.model, x, y, index, config), progress)

    def _steps(self, samples: Any, labels: Any, config: TrainingConfig) -> Any:
        """Return a function that trains on numbered records in batches and returns the means since the last reset."""
        tf, model, batch_size, kept = tensorflow(), self.model, config.batch_size, self._corrections.traced
        signature = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in (samples, labels)]
        trained = config.parts and config.parts.trained
        key = (batch_size, trained, *((tuple(spec.shape[1:]), spec.dtype) for spec in signature))
        if key not in kept:

            def steps(samples: Any, labels: Any, order: Any) -> Any:
                def step(start: Any) -> Any:
                    batch = order[start : start + batch_size]
                    model.train_step(
                        (tf.cast(tf.gather(samples, batch), model.inputs[0].dtype), tf.gather(labels, batch))
                    )
                    return start + batch_size

                tf.while_loop(lambda start: start < tf.size(order), step, [tf.constant(0)])
                return model.get_metrics_result()

            signature.append(tf.TensorSpec([None], tf.int64))
            function = tf.function(steps, input_signature=signature, autograph=False)
            kept[key] = function.get_concrete_function()  # it checks its arguments three times as fast
        return kept[key]


def _seed(generators: Sequence[Any], seed: int) -> None:
    """Set the random generators of layers from the seed.

    A loaded model has their state from the file, which is the same in every round.
    """
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
