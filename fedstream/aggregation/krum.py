"""Krum (Blanchard et al. 2017, NeurIPS, section 4): the update that is nearest to most of the others."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.distances import Distances, nearest
from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.norms import distance
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights


class Krum(Strategy):
    """The new global model is the one update with the smallest distances to its nearest others."""

    paper: ClassVar[str] = "Blanchard et al. 2017, Machine Learning with Adversaries, section 4"
    when: ClassVar[str] = (
        "A known number of clients can be hostile, and the records of the others are alike; "
        "one client's update becomes the model, so all others only vote."
    )

    byzantine: int = Field(
        1, ge=0, le=100_000, description="Number of clients that can be hostile, f in the paper; needs 2 f + 3 updates."
    )

    def fewest(self) -> int:
        return 2 * self.byzantine + 3

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the weights of the update with the lowest score; of equal scores, the first client's by name.

        The figures are its client, and the norm of its difference from the base.
        """
        neighbours = len(updates) - self.byzantine - 2
        (chosen,) = nearest(Distances(base, updates), range(len(updates)), neighbours, 1)
        update = updates[chosen]
        return Aggregated(
            federated_average([(1, update.weights)]),
            figures={"chosen": update.client, "norm": distance(base, update.weights)},
        )
