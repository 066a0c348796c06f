"""The outcome of a round: a strategy's checked result, and the arrays that go out to the clients next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fedstream.aggregation.clipping import clip
from fedstream.aggregation.registry import make_strategy
from fedstream.aggregation.strategy import Strategy
from fedstream.aggregation.updates import Updates
from fedstream.errors import UpdateError
from fedstream.record.clipping import Clipping
from fedstream.record.commit import Contribution, Figures
from fedstream.record.extras import spec_of, why_not
from fedstream.record.spec import RunSpec
from fedstream.record.weights import Weights

_FIGURES = TypeAdapter(Figures)

CLIPPING = "clipping//"
"""Prefix of the state of clipping in the server state. No Keras variable can have it, and no strategy should."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a round.

    Attributes:
        weights: the new global model.
        state: the server state, of the strategy and of clipping; empty for none.
        broadcast: arrays that go out with the model; empty for none.
        figures: numbers and short texts about the aggregation.
        contributions: what each client contributed, where that is recorded.
    """

    weights: Weights
    state: Weights
    broadcast: Weights
    figures: Figures
    contributions: dict[str, Contribution] = field(default_factory=dict)


def strategy_of(spec: RunSpec) -> Strategy:
    """Return the strategy of a run, with its parameters.

    Raises:
        SpecError: this installation does not know the strategy, or the strategy does not accept these parameters.
    """
    return make_strategy(spec.strategy, spec.strategy_config)


def combine_updates(spec: RunSpec, base: Weights, updates: Updates, state: Weights) -> Outcome:
    """Make the next global model of the updates: clip them, then aggregate them with the run's strategy.

    Raises:
        UpdateError: there are too few updates, or the result is not such a model; the message names the variable and
            the reason.
    """
    strategy = strategy_of(spec)
    if why := too_few(spec, len(updates)):
        raise UpdateError(f"{why}, and this round has {len(updates)}; use other parameters in a new run")
    # Noise was added to changes that were clipped before it; to clip them again would leave nothing but noise.
    limits = Clipping() if spec.privacy.where else spec.clipping
    clipped = clip(limits, base, updates, _of_clipping(state))
    made = strategy.aggregate(base, clipped.updates, _of_strategy(state))
    if problem := why_not(
        {name: spec_of(array) for name, array in base.items()}, made.weights, "variable", "the global model"
    ):
        raise UpdateError(
            f"strategy {spec.strategy} made no valid global model of the updates: {problem}; "
            "use other parameters in a new run"
        )
    _check_finite(spec, "server state", made.state)
    try:
        figures = _FIGURES.validate_python(clipped.figures | made.figures)
    except ValidationError as error:
        raise UpdateError(
            f"strategy {spec.strategy} gives figures that cannot be kept: {error.errors()[0]['msg']}; "
            "correct the strategy"
        ) from error
    kept = made.state | {f"{CLIPPING}{name}": array for name, array in clipped.state.items()}
    return Outcome(
        made.weights,
        kept,
        _broadcast(spec, strategy, made.weights, made.state),
        figures,
    )


def too_few(spec: RunSpec, updates: int) -> str:
    """Say how many updates the run's strategy needs, if these are too few; otherwise return an empty string."""
    strategy = strategy_of(spec)
    parameters = ", ".join(f"{name} {value}" for name, value in strategy.model_dump(mode="json").items())
    fewest = strategy.fewest()
    return f"strategy {spec.strategy} with {parameters} needs {fewest} updates" if updates < fewest else ""


def _of_clipping(state: Weights) -> Weights:
    return {name.removeprefix(CLIPPING): array for name, array in state.items() if name.startswith(CLIPPING)}


def _of_strategy(state: Weights) -> Weights:
    return {name: array for name, array in state.items() if not name.startswith(CLIPPING)}


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
