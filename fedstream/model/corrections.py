"""What a LocalRule adds to the gradients of Keras training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from fedstream.model._tensorflow import KerasModel, keras, tensorflow
from fedstream.model.keras_model import travelling
from fedstream.model.learner import TrainingConfig
from fedstream.record.exchange import select
from fedstream.record.extras import spec_of
from fedstream.record.local_rule import LocalRule
from fedstream.record.weights import Weights

Traced: TypeAlias = dict[Any, Any]
"""Functions that were traced, by what they were traced for."""

KEPT = 4
"""How many rules keep their functions. One run has a rule with and without the arrays that a client keeps."""


class Corrections:
    """Adds the terms of rules to the gradients of a model, one training after another.

    A rule's arrays differ from client to client. They are variables, so that the functions of a training are traced
    once for all clients.

    Args:
        model: Compiled Keras model.
    """

    def __init__(self, model: KerasModel) -> None:
        self._model = model
        self._kept: list[_Terms] = []
        self.traced: Traced = {}
        """The functions that belong to the rule in effect. What a training traces is added to them."""

    @contextmanager
    def added(self, config: TrainingConfig, start: Weights) -> Iterator[None]:
        """Let the rule add to the gradients of the trainable variables that travel for as long as the context lasts.

        The rule adds its terms before the optimizer clips or accumulates gradients, as if it were a term of the loss.
        The loss that training reports does not include it. A rule that adds nothing does not change any operation of
        training.

        Args:
            config: Configuration of the training, with the rule.
            start: Weights of the global model that the client received.
        """
        if not config.rule.corrects:
            yield
            return
        model, optimizer = self._model, _innermost(self._model.optimizer)
        shared = select(travelling(model), config.parts)
        names = {id(variable): name for name, variable in shared.items() if variable.trainable}
        terms = self._terms(config, {name: start[name] for name in names.values()})
        tf, plain, replicas = tensorflow(), optimizer.apply, model.distribute_strategy.num_replicas_in_sync

        def corrected(gradient: Any, variable: Any) -> Any:
            name = names.get(id(variable))
            term = terms.of(name, variable.value) if name else None
            if term is None:
                return gradient
            term = tf.cast(term, variable.dtype) / replicas  # the replicas' gradients are added up
            return term if gradient is None else tf.convert_to_tensor(gradient) + term

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            variables = list(optimizer._trainable_variables if trainable_variables is None else trainable_variables)
            return plain([corrected(*pair) for pair in zip(grads, variables, strict=True)], variables)

        optimizer.apply, without = apply, self.traced
        self.traced = terms.traced
        try:
            yield
        finally:
            self.traced = without
            del optimizer.apply

    def _terms(self, config: TrainingConfig, start: Weights) -> _Terms:
        """Return the rule's terms with the arrays of this training."""
        arrays = [start, config.received, config.state]
        for terms in self._kept:
            if terms.fit(config.rule, arrays):
                terms.assign(arrays)
                return terms
        new = _Terms(config.rule, arrays)
        self._kept = [*self._kept[1 - KEPT :], new]
        return new


class _Terms:
    """A rule with its arrays as variables, and the functions that were traced with them."""

    def __init__(self, rule: LocalRule, arrays: list[Weights]) -> None:
        tf = tensorflow()
        with tf.device("CPU:0"):
            self._variables = [
                {name: tf.Variable(array, trainable=False) for name, array in some.items()} for some in arrays
            ]
        self._rule, self._specs = rule, _specs(arrays)
        self.traced: Traced = {}

    def fit(self, rule: LocalRule, arrays: list[Weights]) -> bool:
        return rule == self._rule and _specs(arrays) == self._specs

    def assign(self, arrays: list[Weights]) -> None:
        for variables, some in zip(self._variables, arrays, strict=True):
            for name, variable in variables.items():
                variable.assign(some[name])

    def of(self, name: str, value: Any) -> Any:
        """Return the term of a variable in a step."""
        start, received, state = self._variables
        return self._rule.gradient(name, value, start[name], received, state)


def _specs(arrays: list[Weights]) -> list[Mapping[str, Any]]:
    return [{name: spec_of(array) for name, array in some.items()} for some in arrays]


def _innermost(optimizer: Any) -> Any:
    """Return the optimizer that gets gradients in their own scale."""
    return (
        _innermost(optimizer.inner_optimizer)
        if isinstance(optimizer, keras().optimizers.LossScaleOptimizer)
        else optimizer
    )
