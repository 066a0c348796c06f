"""Which variables a training leaves alone, and how its LocalRule finishes the trained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel
from fedstream.model.keras_model import travelling
from fedstream.model.learner import TrainingConfig
from fedstream.record.exchange import Parts, select
from fedstream.record.extras import spec_of, why_not
from fedstream.record.local_rule import Finished, LocalTraining
from fedstream.record.weights import Weights


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
