"""q-FedAvg (Li et al. 2020, arXiv 1905.10497, algorithm 2): clients with larger losses weigh more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.server_optimizer import Sgd, optimized, parts
from fedstream.aggregation.strategy import Aggregated, Strategy, is_optimized
from fedstream.aggregation.updates import Updates, reader
from fedstream.aggregation.weighting import SCALAR, power, reported, whole_weights
from fedstream.record.extras import ArraySpec
from fedstream.record.local_rule import Finished, LocalRule, LocalTraining
from fedstream.record.sums import total
from fedstream.record.weights import Weights

TINY = 1e-10
"""The least loss, as in the authors' code; without it, a client that is already right would divide by zero."""


class Losses(LocalRule):
    """Each client reports its learning rate, and the loss of the received model on the records that it trains on."""

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return {"loss": SCALAR, "learning_rate": SCALAR}

    def finish(self, training: LocalTraining) -> Finished:
        numbers = {"loss": training.loss(), "learning_rate": training.learning_rate}
        return Finished(training.trained, {name: np.array(number, np.float64) for name, number in numbers.items()})


class QFedAvg(Strategy):
    """Clients on whose records the model is worse weigh more, so that its quality differs less between clients."""

    paper: ClassVar[str] = "Li et al. 2020, arXiv 1905.10497, algorithm 2"
    when: ClassVar[str] = (
        "The model must be good for every client and not only on average, and all clients are trusted: "
        "a client that reports a huge loss decides the round. They train with SGD."
    )

    q: float = Field(
        1.0, ge=0, le=100, description="Fairness: the power of a client's loss that weighs it; 0 weighs all alike."
    )

    def local_rule(self) -> LocalRule:
        return Losses()

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return w - sum of Delta_k / sum of h_k, with L = 1 / learning rate, Delta w_k = L * (w - w_k),
        Delta_k = F_k^q * Delta w_k and h_k = q * F_k^(q-1) * |Delta w_k|^2 + L * F_k^q.

        With r_k = (F_k / max F)^q, which cannot overflow, this is a step from w towards the exact mean with the weights
        r_k, of length sum of r_k / sum of r_k * (1 + q * L * |w - w_k|^2 / F_k).
        """
        lipschitz = 1 / reported(updates, "learning_rate")
        losses = [max(TINY, float(np.asarray(update.extras["loss"])[()])) for update in updates]
        largest = max(losses)
        shares = [power(loss / largest, self.q) for loss in losses]
        lengths = [
            share * (1 + self.q * lipschitz * _distance(base, update.weights) / loss)
            for share, loss, update in zip(shares, losses, updates, strict=True)
        ]
        counts = zip(whole_weights(shares), (update.weights for update in updates), strict=True)
        step = math.fsum(shares) / math.fsum(lengths)
        made = optimized(base, federated_average(list(counts)), Sgd(step), {})
        return replace(made, figures={**made.figures, "largest_loss": largest, "smallest_loss": min(losses)})


def _distance(base: Weights, weights: Mapping[str, np.ndarray]) -> float:
    """Return the squared norm of a client's change."""
    squares = []
    for name, array in base.items():
        if is_optimized(name, array):
            new, old = reader(weights, name), reader(base, name)
            squares += [total(np.square(new(part).astype(np.float64) - old(part))) for part in parts(array.size)]
    return math.fsum(squares)
