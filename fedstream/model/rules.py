"""Apply a LocalRule to Keras training: add its terms to the gradients, and let it finish the trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel, keras, tensorflow
from fedstream.model.keras_model import travelling
from fedstream.record.extras import spec_of, why_not
from fedstream.record.local_rule import Finished, LocalRule, LocalTraining
from fedstream.record.weights import Weights


@contextmanager
def corrected(model: KerasModel, rule: LocalRule, start: Weights, received: Weights, state: Weights) -> Iterator[None]:
    """Let the rule add to the gradients of a model's trainable variables for as long as the context lasts.

    The rule adds its terms before the optimizer clips or accumulates gradients, as if it were a term of the loss. The
    loss that training reports does not include it. A rule that adds nothing does not change any operation of training.

    Args:
        model: Compiled Keras model.
        rule: Local rule of the clients.
        start: Weights of the global model that the client received.
        received: Arrays that came with the global model.
        state: Arrays that the client kept.
    """
    if not rule.corrects:
        yield
        return
    names = {id(variable): name for name, variable in travelling(model).items() if variable.trainable}
    tf, optimizer, replicas = tensorflow(), _innermost(model.optimizer), model.distribute_strategy.num_replicas_in_sync
    with tf.device("CPU:0"):
        starts = {name: tf.constant(start[name]) for name in names.values()}
        arrays, kept = ({name: tf.constant(array) for name, array in given.items()} for given in (received, state))
    plain = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        variables = list(optimizer._trainable_variables if trainable_variables is None else trainable_variables)
        return plain(
            [_added(gradient, variable) for gradient, variable in zip(grads, variables, strict=True)], variables
        )

    def _added(gradient: Any, variable: Any) -> Any:
        name = names[id(variable)]
        term = rule.gradient(name, variable.value, starts[name], arrays, kept)
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


def finished(rule: LocalRule, training: LocalTraining) -> Finished:
    """Return what the client sends and keeps.

    Raises:
        ModelError: They do not match the declaration of the rule.
    """
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
    return made


def _specs(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec_of(array) for name, array in arrays.items()}


def _innermost(optimizer: Any) -> Any:
    """Return the optimizer that gets gradients in their own scale."""
    return (
        _innermost(optimizer.inner_optimizer)
        if isinstance(optimizer, keras().optimizers.LossScaleOptimizer)
        else optimizer
    )
