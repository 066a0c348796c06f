"""The outcome of a round: a strategy's checked result, and the arrays that go out to the clients next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fedstream.aggregation.contribution import contributions
from fedstream.aggregation.registry import make_strategy
from fedstream.aggregation.strategy import Strategy
from fedstream.aggregation.updates import Updates
from fedstream.errors import UpdateError
from fedstream.record.documents import Contribution, Figures
from fedstream.record.extras import spec_of, why_not
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights

_FIGURES = TypeAdapter(Figures)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a round.

    Attributes:
        weights: the new global model.
        state: the strategy's server state; empty for none.
        broadcast: arrays that go out with the model; empty for none.
        figures: numbers and short texts about the aggregation.
        contributions: what each client contributed.
    """

    weights: Weights
    state: Weights
    broadcast: Weights
    figures: Figures
    contributions: dict[str, Contribution]


def strategy_of(spec: RunSpec) -> Strategy:
    """Return the strategy of a run, with its parameters.

    Raises:
        SpecError: this installation does not know the strategy, or the strategy does not accept these parameters.
    """
    return make_strategy(spec.strategy, spec.strategy_config)


def combine_updates(spec: RunSpec, base: Weights, updates: Updates, state: Weights) -> Outcome:
    """Aggregate the updates into the next global model with the run's strategy.

    Raises:
        UpdateError: the result is not such a model; the message names the variable and the reason.
    """
    strategy = strategy_of(spec)
    made = strategy.aggregate(base, updates, state)
    if problem := why_not(
        {name: spec_of(array) for name, array in base.items()}, made.weights, "variable", "the global model"
    ):
        raise UpdateError(
            f"strategy {spec.strategy} made no valid global model of the updates: {problem}; "
            "use other parameters in a new run"
        )
    _check_finite(spec, "server state", made.state)
    try:
        figures = _FIGURES.validate_python(made.figures)
    except ValidationError as error:
        raise UpdateError(
            f"strategy {spec.strategy} gives figures that cannot be kept: {error.errors()[0]['msg']}; "
            "correct the strategy"
        ) from error
    return Outcome(
        made.weights,
        made.state,
        _broadcast(spec, strategy, made.weights, made.state),
        figures,
        contributions(base, made.weights, updates),
    )


def first_broadcast(spec: RunSpec, weights: Weights) -> Weights:
    """Return the arrays that go out with a run's initial model; empty for none."""
    return _broadcast(spec, strategy_of(spec), weights, {})


def _broadcast(spec: RunSpec, strategy: Strategy, weights: Weights, state: Weights) -> Weights:
    arrays = strategy.broadcast(weights, state)
    _check_finite(spec, "broadcast", arrays)
    return arrays


def _check_finite(spec: RunSpec, what: str, arrays: Mapping[str, np.ndarray]) -> None:
    if problem := why_not({name: spec_of(array) for name, array in arrays.items()}, arrays, "array", what):
        raise UpdateError(
            f"strategy {spec.strategy} makes a {what} that cannot be kept: {problem}; use other parameters in a new run"
        )
