"""A strategy turns valid updates into the next global model. Strategies have names, so that a form value can choose one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from fedstream.aggregation.fedavg import federated_average
from fedstream.errors import SpecError

Weights = dict[str, np.ndarray]
Updates = Iterable[tuple[int, Mapping[str, np.ndarray]]]


class Strategy(Protocol):
    """How updates become the next global model.

    Attributes:
        stateful: whether it keeps server state from one round to the next.
    """

    stateful: bool

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> tuple[Weights, Weights]:
        """Return the new global model and the server state to keep for the next round.

        Args:
            base: the round's incoming global model.
            updates: (num_examples, weights) in canonical order.
            state: what this method returned in the round before; empty in round 1.
        """
        ...


class FedAvg:
    """The new global model is the weighted mean; there is no server state."""

    stateful = False

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> tuple[Weights, Weights]:
        return federated_average(updates), state


STRATEGIES: dict[str, type[Strategy]] = {"FedAvg": FedAvg}


def get_strategy(name: str) -> Strategy:
    """Return the strategy of that name.

    Raises:
        SpecError: there is none.
    """
    if name not in STRATEGIES:
        raise SpecError(f"strategy {name!r} is not known; use one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]()
