"""SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, option II): control variates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.server_optimizer import Rate, Sgd, optimized, parts
from fedstream.aggregation.strategy import Aggregated, Strategy, is_optimized
from fedstream.aggregation.updates import Updates
from fedstream.record.extras import ArraySpec, spec_of
from fedstream.record.local_rule import Finished, LocalRule, LocalTraining
from fedstream.record.weights import Weights

C = "c/"
"""Prefix of a variable's control variate: the server's, a client's, and the change of a client's."""


@dataclass(frozen=True)
class ControlVariates(LocalRule):
    """Each client corrects its gradients by c - c_i, keeps c_i, and sends the change of c_i. c_i begins as zero."""

    @property
    def corrects(self) -> bool:
        return True

    def gradient(self, name: str, value: Any, start: Any, received: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
        """Return c - c_i."""
        return received[C + name] - state[C + name] if state else received[C + name]

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return {C + name: spec_of(array) for name, array in base.items() if is_optimized(name, array)}

    def keeps(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return self.returns(base)

    def finish(self, training: LocalTraining) -> Finished:
        """Compute c_i+ = c_i - c + (x - y_i) / (K * eta_l)."""
        scale, new, change = training.steps * training.learning_rate, Weights(), Weights()
        for name, c in training.received.items():
            variable = name.removeprefix(C)
            old = training.state[name] if training.state else np.zeros_like(c)
            moved = np.subtract(training.start[variable], training.trained[variable], dtype=np.float64)
            new[name] = (old.astype(np.float64) - c + moved / scale).astype(c.dtype)
            change[name] = new[name] - old
        return Finished(training.trained, change, new)


class Scaffold(Strategy):
    """Control variates, one of the server's and one of each client's, keep local training from drifting apart."""

    paper: ClassVar[str] = "Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, option II"
    when: ClassVar[str] = (
        "The clients' records differ a lot, they take many local steps with plain SGD, and each takes part often. "
        "Updates are twice as large as the model, and the store keeps as much of each client."
    )

    server_learning_rate: Rate = 1.0

    def local_rule(self) -> LocalRule:
        return ControlVariates()

    def broadcast(self, weights: Weights, state: Weights) -> Weights:
        """Return c, which is zero at first."""
        return state or {C + name: np.zeros_like(array) for name, array in weights.items() if is_optimized(name, array)}

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return x + eta_g * mean of (y_i - x), and c + |S| / N * mean of (c_i+ - c_i).

        Both means are exact and count every client alike, as in the paper. N counts all clients of the run.
        """
        mean = federated_average([(1, update.weights) for update in updates])
        change = federated_average([(1, update.extras) for update in updates])
        share, c = len(updates) / updates.population, self.broadcast(base, state)
        moved = optimized(base, mean, Sgd(self.server_learning_rate), {})
        return replace(moved, state={name: _added(c[name], array, share) for name, array in change.items()})


def _added(start: np.ndarray, change: np.ndarray, share: float) -> np.ndarray:
    """Return start + share * change, computed in float64 and rounded once."""
    new = np.empty_like(start)
    flat, old, added = new.reshape(-1), start.reshape(-1), change.reshape(-1)
    for part in parts(flat.size):
        flat[part] = old[part] + share * added[part].astype(np.float64)
    return new
