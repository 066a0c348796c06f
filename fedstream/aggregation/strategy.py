"""Strategy: how updates become the next global model, and what the clients must do for that.

The fields of a strategy are its parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from fedstream.aggregation.updates import Updates
from fedstream.record.commit import FIGURE_TEXT, Figures
from fedstream.record.local_rule import NO_RULE, LocalRule
from fedstream.record.weights import Weights


@dataclass(frozen=True)
class Aggregated:
    """The result of aggregating a round's updates.

    Attributes:
        weights: the new global model, with the names, shapes and dtypes of the base; all values are finite.
        state: what the strategy needs again in the next round; name -> array, all finite; empty for nothing.
        figures: numbers and short texts about this aggregation, for the commit and the report.
    """

    weights: Weights
    state: Weights = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)


class Strategy(BaseModel):
    """How updates become the next global model.

    A strategy is a frozen model. Each field is a parameter, with a default, bounds and a description; a run sets the
    parameters in `strategy_config`. The first line of the docstring states what the strategy does. Results must depend
    only on the parameters and the arguments, not on a clock, randomness or the order of arrival, because everyone who
    verifies a run aggregates its updates again.

    Attributes:
        paper: the paper that describes the strategy.
        when: when to use it, in one sentence.
        of_mean: whether the strategy uses nothing of the updates but their mean. Central noise is added to that mean,
            and other strategies refuse it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    paper: ClassVar[str]
    when: ClassVar[str]
    of_mean: ClassVar[bool] = False

    @abstractmethod
    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the new global model, the server state to keep, and figures.

        Args:
            base: the global model that the clients received.
            updates: all accepted updates; they can be read more than once. Their arrays can be mapped from files, so
                work block by block.
            state: the state that this method returned in the round whose model is the base; empty in the first round of
                a run.
        """

    def fewest(self) -> int:
        """Return how many updates a round needs at least, for what the paper promises to hold."""
        return 1

    def local_rule(self) -> LocalRule:
        """Return what the clients do in addition to plain training."""
        return NO_RULE

    def broadcast(self, weights: Weights, state: Weights) -> Weights:
        """Return the arrays that go out to the clients with a global model.

        Args:
            weights: the global model.
            state: the server state that belongs to it; empty for the initial model.
        """
        return {}


def is_optimized(name: str, array: np.ndarray) -> bool:
    """Tell whether a server optimizer can update a variable.

    It never updates integers. The moving mean and variance of BatchNormalization are measurements, not parameters, and
    an optimizer step could make a variance negative, so they become the mean of the clients' values.
    """
    return np.issubdtype(array.dtype, np.floating) and not name.rpartition("/")[2].startswith("moving_")


def choice(updates: Updates, chosen: Sequence[int]) -> Figures:
    """Return figures that name the clients whose updates are chosen, and those that are left out."""
    clients = [update.client for update in updates]
    return {
        "chosen": named(clients[one] for one in chosen),
        "left_out": named(client for one, client in enumerate(clients) if one not in set(chosen)),
    }


def named(clients: Iterable[str]) -> str:
    """Return the names of clients as the text of a figure; names beyond its maximum length are only counted."""
    text, names = "", list(clients)
    for number, client in enumerate(names):
        rest = f" and {len(names) - number} more"
        if len(text) + len(client) + len(rest) + 2 > FIGURE_TEXT:
            return text + rest
        text += f", {client}" if text else client
    return text or "none"
