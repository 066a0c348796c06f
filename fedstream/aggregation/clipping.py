"""Stage 2: changes that are too large are scaled down (clipped) or ignored (zeroed), before any strategy sees them.

Norms are those of `norms.distance`, so every processor decides alike.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal

import numpy as np

from fedstream.aggregation.norms import distance
from fedstream.aggregation.parallel import in_order
from fedstream.aggregation.strategy import named
from fedstream.aggregation.updates import Moved, Updates
from fedstream.record.clipping import Clipping
from fedstream.record.commit import Figures
from fedstream.record.judge import FEWEST
from fedstream.record.weights import Weights

NORM = "norm"
"""Name of the adaptive norm in this stage's state: a float64 without dimensions."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Between these, the adaptive norm can be stored and divided by, however long a run lasts."""

EXACT = Context(prec=40)
"""Decimal rounds exp() correctly on every machine; a processor's own exp() does not."""


@dataclass(frozen=True)
class Clipped:
    """The updates that go on to the strategy.

    Attributes:
        updates: clipped and zeroed updates are computed where they are read; the others are as the clients sent them.
        state: what this stage needs again in the next round.
        figures: the norm, and the clients whose updates were clipped or zeroed; none without clipping.
    """

    updates: Updates
    state: Weights
    figures: Figures


def clip(clipping: Clipping, base: Weights, updates: Updates, state: Mapping[str, np.ndarray]) -> Clipped:
    """Limit the updates' changes as a run's clipping says.

    A clipped update is base + scale * (weights - base), computed in float64 and rounded to the dtype of the weights, so
    its norm can exceed the limit by the rounding. The arrays that a strategy lets the clients send beside the weights
    are not changed.

    Args:
        clipping: the limits.
        base: the global model that the clients received.
        updates: all accepted updates.
        state: the state that this function returned in the round whose model is the base; empty in the first round.
    """
    if not (clipping.norm or clipping.zero_above):
        return Clipped(updates, {}, {})
    norms = list(in_order(lambda update: distance(base, update.weights), updates))
    norm = float(state[NORM]) if NORM in state else clipping.norm
    scales = scales_of(norms, norm or math.inf, clipping.zero_above)
    moved = (
        update if scale == 1 else replace(update, weights=Moved(base, update.weights, scale))
        for update, scale in zip(updates, scales, strict=True)
    )
    limited = Updates(moved, updates.population)
    zeroed = [update.client for update, scale in zip(updates, scales, strict=True) if scale == 0 < clipping.zero_above]
    smaller = [update.client for update, scale in zip(updates, scales, strict=True) if scale < 1]
    figures: Figures = {}
    if norm:
        figures |= {"clipping_norm": norm, "clipped": named(sorted({*smaller} - {*zeroed}))}
    if clipping.zero_above:
        figures["zeroed"] = named(zeroed)
    following = {NORM: next_norm(norm, norms, clipping.quantile, clipping.learning_rate)} if clipping.quantile else {}
    return Clipped(limited, {name: np.array(value) for name, value in following.items()}, figures)


def scales_of(norms: Sequence[float], limit: float, zero_above: float) -> list[float]:
    """Return how much of each change remains: 0 if it is zeroed, below 1 if it is clipped, and 1 otherwise.

    Args:
        norms: of the changes.
        limit: norm to clip to, above 0; infinity for no clipping.
        zero_above: multiple of the median norm above which a change is zeroed; 0 for none.
    """
    median = statistics.median(norms) if zero_above and len(norms) >= FEWEST else 0.0
    return [0.0 if median and norm > zero_above * median else 1.0 if norm <= limit else limit / norm for norm in norms]


def next_norm(norm: float, norms: Sequence[float], quantile: float, learning_rate: float) -> float:
    """Return the norm of the next round: C * exp(-eta * (b - gamma)), where b is the share of changes within C.

    This is the geometric update of Andrew et al. 2021, arXiv 1905.03871, section 2.1, with all clients counted exactly.

    Args:
        norm: the norm of this round, C.
        norms: of the changes, before clipping.
        quantile: the share of changes that should be within the norm, gamma.
        learning_rate: eta.
    """
    within = EXACT.divide(Decimal(sum(one <= norm for one in norms)), Decimal(len(norms)))
    step = EXACT.exp(EXACT.multiply(Decimal(repr(learning_rate)), EXACT.subtract(Decimal(repr(quantile)), within)))
    return min(max(float(EXACT.multiply(Decimal(norm), step)), SMALLEST), LARGEST)
