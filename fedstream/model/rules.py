"""Apply a LocalRule to Keras training: add its terms to the gradients, and let it finish the trained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, tensorflow
from fedstream.model.keras_model import travelling
from fedstream.model.learner import TrainingConfig
from fedstream.record.exchange import Parts, select
from fedstream.record.extras import spec_of, why_not
from fedstream.record.local_rule import Finished, LocalTraining
from fedstream.record.weights import Weights


@contextmanager
def corrected(model: KerasModel, config: TrainingConfig, start: Weights) -> Iterator[None]:
    """Let the rule add to the gradients of the trainable variables that travel for as long as the context lasts.

    The rule adds its terms before the optimizer clips or accumulates gradients, as if it were a term of the loss. The
    loss that training reports does not include it. A rule that adds nothing does not change any operation of training.

    Args:
        model: Compiled Keras model.
        config: Configuration of the training, with the rule.
        start: Weights of the global model that the client received.
    """
    rule = config.rule
    if not rule.corrects:
        yield
        return
    shared = select(travelling(model), config.parts)
    names = {id(variable): name for name, variable in shared.items() if variable.trainable}
    tf, optimizer, replicas = tensorflow(), _innermost(model.optimizer), model.distribute_strategy.num_replicas_in_sync
    with tf.device("CPU:0"):
        starts = {name: tf.constant(start[name]) for name in names.values()}
        arrays, kept = (
            {name: tf.constant(array) for name, array in given.items()} for given in (config.received, config.state)
        )
    plain = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        variables = list(optimizer._trainable_variables if trainable_variables is None else trainable_variables)
        return plain(
            [_added(gradient, variable) for gradient, variable in zip(grads, variables, strict=True)], variables
        )

    def _added(gradient: Any, variable: Any) -> Any:
        name = names.get(id(variable))
        term = rule.gradient(name, variable.value, starts[name], arrays, kept) if name else None
        if term is None:
            return gradient
        term = tf.cast(term, variable.dtype) / replicas  # the replicas' gradients are added up
        return term if gradient is None else tf.convert_to_tensor(gradient) + term

    optimizer.apply, model.train_function = apply, None
    try:
        yield
    finally:
        del optimizer.apply
        model.train_function = None


@contextmanager
def fixed(model: KerasModel, parts: Parts | None) -> Iterator[None]:
    """Keep the variables that neither travel nor are personal out of training for as long as the context lasts."""
    held = [
        variable
        for name, variable in (travelling(model) if parts else {}).items()
        if parts and variable.trainable and name not in parts.trained
    ]
    for variable in held:
        variable.trainable = False
    try:
        yield
    finally:
        for variable in held:
            variable.trainable = True


def finished(
    config: TrainingConfig, start: Weights, trained: Weights, steps: int, rate: float, loss: Callable[[], float]
) -> Finished:
    """Let the rule finish the variables that travel, and return all weights, and what the client sends and keeps.

    Variables that neither travel nor are personal get their values from the start back.

    Args:
        config: Configuration of the training, with the rule.
        start: Weights that the client began with.
        trained: Weights after the last step.
        steps: Number of optimizer steps.
        rate: Learning rate in the last step.
        loss: Measures the received model, as in LocalTraining.

    Raises:
        ModelError: The result does not match the declaration of the rule.
    """
    rule, parts = config.rule, config.parts
    training = LocalTraining(
        select(start, parts), select(trained, parts), config.received, steps, rate, config.seed, config.state, loss
    )
    made = rule.finish(training)
    problem = (
        why_not(_specs(training.trained), made.weights, "variable", "the global model")
        or why_not(rule.returns(training.start), made.extras, "extra array", "what the rule returns")
        or why_not(rule.keeps(training.start), made.state, "client state array", "what the rule keeps")
    )
    if problem:
        raise ModelError(
            f"the local rule {type(rule).__name__} makes no update that counts: {problem}; "
            "correct the strategy, or its parameters"
        )
    if parts is None:
        return made
    personal = {variable.name: trained[variable.name] for variable in parts.personal}
    return replace(made, weights={**start, **personal, **made.weights})


def _specs(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec_of(array) for name, array in arrays.items()}


def _innermost(optimizer: Any) -> Any:
    """Return the optimizer that gets gradients in their own scale."""
    return (
        _innermost(optimizer.inner_optimizer)
        if isinstance(optimizer, keras().optimizers.LossScaleOptimizer)
        else optimizer
    )
