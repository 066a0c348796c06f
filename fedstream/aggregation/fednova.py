"""FedNova (Wang et al. 2020, arXiv 2007.07481): the mean of changes that are normalised by each client's local work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.server_optimizer import Sgd, optimized
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Updates
from fedstream.aggregation.weighting import SCALAR, geometric_sum, reported, whole_weights
from fedstream.errors import UpdateError
from fedstream.record.extras import ArraySpec
from fedstream.record.local_rule import Finished, LocalRule, LocalTraining, Proximal
from fedstream.record.weights import Weights


@dataclass(frozen=True)
class ProximalWithRate(Proximal):
    """The proximal term, and the learning rate, which the server needs to know how far the term held a client back."""

    def returns(self, base: Mapping[str, Any]) -> dict[str, ArraySpec]:
        return {"learning_rate": SCALAR}

    def finish(self, training: LocalTraining) -> Finished:
        return Finished(training.trained, {"learning_rate": np.array(training.learning_rate)})


class FedNova(Strategy):
    """Each client's change counts per local step, so those that take more steps do not pull the model further."""

    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2007.07481, sections 3 and 4"
    when: ClassVar[str] = (
        "Clients have very different numbers of records or finish different numbers of epochs. They train with SGD, "
        "and partial work is accepted."
    )

    momentum: float = Field(
        0.0, ge=0, lt=1, description="Momentum of the clients' SGD, rho in the paper: that of the compiled model."
    )
    mu: float = Field(0.0, ge=0, le=1_000, description="Weight of the proximal term, as in FedProx; 0 for none.")

    @model_validator(mode="after")
    def _one_of_the_papers_solvers(self) -> FedNova:
        if self.momentum and self.mu:
            raise ValueError("such that momentum or mu is 0, because the paper normalises one or the other")
        return self

    def local_rule(self) -> LocalRule:
        return ProximalWithRate(self.mu)

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return x + tau_eff * sum of p_i * (x_i - x) / |a_i|, with tau_eff = sum of p_i * |a_i|.

        p_i is a client's share of the examples. The sum is an exact mean with the weights p_i / |a_i|, followed by a
        step of the server from the base towards it, so its result is independent of the order of the clients. Moving
        statistics and the like become that mean.
        """
        rate = reported(updates, "learning_rate") if self.mu else 0.0
        sizes = [self._size(update.steps, rate) for update in updates]
        examples = math.fsum(update.num_examples for update in updates)
        shares = [update.num_examples / examples for update in updates]
        per_step = [share / size for share, size in zip(shares, sizes, strict=True)]
        effective = math.fsum(share * size for share, size in zip(shares, sizes, strict=True))
        counts = zip(whole_weights(per_step), (update.weights for update in updates), strict=True)
        made = optimized(base, federated_average(list(counts)), Sgd(effective * math.fsum(per_step)), {})
        return replace(made, figures={**made.figures, "effective_steps": effective})

    def _size(self, steps: int, rate: float) -> float:
        """Return |a_i|, the sum of the weights with which a client's gradients count in its change (section 3).

        Raises:
            UpdateError: mu times the learning rate is 1 or more, so that the term overshoots.
        """
        if self.momentum:
            decay = self.momentum
            return (steps - decay * geometric_sum(decay, steps)) / (1 - decay)
        if (held := rate * self.mu) >= 1:
            raise UpdateError(
                f"mu times the clients' learning rate is {held:g}, and FedNova needs it below 1; "
                "use a smaller mu in a new run"
            )
        return geometric_sum(1 - held, steps)
