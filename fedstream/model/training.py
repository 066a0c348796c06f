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
from fedstream.model.batches import Tensors, epochs_of_batches
from fedstream.model.corrections import Corrections
from fedstream.model.devices import device_name, gpu_names
from fedstream.model.evaluation import evaluate_parts, finite, traced
from fedstream.model.inputs import gathered
from fedstream.model.keras_model import check_shapes, get_weights, shapes_of, travelling
from fedstream.model.learner import TrainingConfig, TrainResult
from fedstream.model.outputs import for_outputs, named
from fedstream.model.progress import Progress
from fedstream.model.rules import finished, fixed
from fedstream.model.streaming import AnyExamples
from fedstream.model.twin import fit_mirrored, twin_of
from fedstream.model.variables import MetricsReset, Restored, Variables
from fedstream.record.documents import Metrics
from fedstream.record.weights import Weights

STEPS_PER_CALL = 32
"""Optimizer steps in one call of the graph: a step of a small model takes 0.3 ms, each call from Python 1.5 ms more."""


def train_client(
    model: KerasModel, examples: AnyExamples, config: TrainingConfig, devices: Sequence[str] | None = None
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
        self, weights: Weights, examples: AnyExamples, config: TrainingConfig, devices: Sequence[str] | None = None
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
        trained_on, measured_on = examples.count(held_out=False), examples.count(held_out=True)
        self.set_weights(weights)
        incoming = self._measure(examples, held_out=True)
        if config.measure_only:
            return TrainResult({}, measured_on, incoming, None, None, name)
        if not trained_on:
            raise ModelError(
                f"no record is left to train on: all {measured_on} are held out; send more records or hold out fewer"
            )
        learner = self._twin(devices, config.mixed_precision) if len(devices) > 1 or config.mixed_precision else self
        if learner is not self:
            learner.set_weights(weights)
        with learner._fresh(config), learner._corrections.added(config, weights):
            progress = Progress(learner.model, config.deadline, config.rule.partial_work)
            fit = learner._fit_mirrored if len(devices) > 1 else learner._fit
            fit(examples, config, progress)
            values, rate = progress.values, learner._learning_rate()
        trained = learner._variables.read()
        _check_finite(trained, values, config)
        steps = progress.epochs * math.ceil(trained_on / config.batch_size)

        def loss() -> float:
            self.set_weights(weights)
            measured = self._measure(examples, held_out=False)
            self.set_weights(trained)
            return measured.values.get("loss", math.nan) if measured else math.nan

        made = finished(config, weights, trained, steps, rate, loss)
        if learner is not self or made.weights is not trained:
            self.set_weights(made.weights)
        training = Metrics(num_examples=trained_on, values=finite(named(self.model, values)))
        return TrainResult(
            made.weights,
            trained_on,
            incoming,
            self._measure(examples, held_out=True),
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
        return evaluate_parts(self.model, [(x, y)], step=self._traced_step, reset=self._reset_metrics)

    def _measure(self, examples: AnyExamples, *, held_out: bool) -> Metrics | None:
        if not examples.count(held_out=held_out):
            return None
        parts = examples.parts(held_out=held_out)
        return evaluate_parts(self.model, parts, step=self._traced_step, reset=self._reset_metrics)

    def _traced_step(self, inputs: Any, target: Any) -> tuple[Any, Any, dict[str, Any]]:
        key = ("measure", tuple(target.shape[1:]), target.dtype)
        if key not in self._traced:
            self._traced[key] = traced(self.model, target.shape[1:], target.dtype)
        return self._traced[key](inputs, target)  # type: ignore[no-any-return]

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

    def _fit(self, examples: AnyExamples, config: TrainingConfig, progress: Progress) -> None:
        """Train like Keras' `fit`, in a function that is traced once for all clients; `fit` traces one per client."""
        tf, model, held = tensorflow(), self.model, Tensors(self.model)
        most = STEPS_PER_CALL * config.batch_size
        with progress.until_deadline(), fixed(model, config.parts):
            for windows in examples.epochs(config.seed, config.epochs, config.batch_size):
                self._reset_metrics()
                done, values = 0, dict[str, float]()
                for window in windows:
                    (samples, labels), (order, last) = held.of(window), window[2:]
                    del window  # a stream reads the next one meanwhile
                    steps, calls = self._steps(samples, labels, config), np.split(order, range(most, len(order), most))
                    for some in calls:
                        values = {key: float(value) for key, value in steps(samples, labels, tf.constant(some)).items()}
                        _check_loss(values["loss"], config)
                        done += len(some)
                        if last and some is calls[-1]:
                            progress.finished_epoch(values)
                        progress.check((done - 1) // config.batch_size)
                    del samples, labels
        model.optimizer.finalize_variable_values(model.trainable_weights)

    def _fit_mirrored(self, examples: AnyExamples, config: TrainingConfig, progress: Progress) -> None:
        with progress.until_deadline(), fixed(self.model, config.parts):
            fit_mirrored(self.model, epochs_of_batches(self.model, examples, config), progress)

    def _steps(self, samples: Any, labels: Any, config: TrainingConfig) -> Any:
        """Return a function that trains on numbered records in batches and returns the means since the last reset."""
        tf, model, batch_size, kept = tensorflow(), self.model, config.batch_size, self._corrections.traced
        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), [samples, labels]
        )
        trained = config.parts and config.parts.trained
        key = (batch_size, trained, *((tuple(spec.shape[1:]), spec.dtype) for spec in tf.nest.flatten(signature)))
        if key not in kept:

            def steps(samples: Any, labels: Any, order: Any) -> Any:
                def step(start: Any) -> Any:
                    batch = order[start : start + batch_size]
                    model.train_step((gathered(model, samples, batch), for_outputs(model, tf.gather(labels, batch))))
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
