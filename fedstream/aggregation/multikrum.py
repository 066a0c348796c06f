"""MultiKrum (Blanchard et al. 2017, NeurIPS): the mean of the updates that Krum finds best."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.distances import Distances, nearest
from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.krum import Krum
from fedstream.aggregation.strategy import Aggregated, choice
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights


class MultiKrum(Krum):
    """The new global model is the unweighted mean of the updates with the lowest scores of Krum."""

    paper: ClassVar[str] = "Blanchard et al. 2017, Machine Learning with Adversaries (Multi-Krum)"
    when: ClassVar[str] = (
        "A known number of clients can be hostile; unlike Krum, it learns from most of the others, "
        "and is slowed down less by differences between them."
    )

    keep: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Number of updates to average, m in the paper; 0 for all but the hostile ones.",
    )

    def fewest(self) -> int:
        return max(super().fewest(), self.keep)

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the exact mean of the updates with the lowest scores; of equal scores, the first by name count.

        The figures name the clients that are kept and left out.
        """
        neighbours = len(updates) - self.byzantine - 2
        kept = self.keep or len(updates) - self.byzantine
        chosen = nearest(Distances(base, updates), range(len(updates)), neighbours, kept)
        mean = federated_average([(1, updates[one].weights) for one in chosen])
        return Aggregated(mean, figures=choice(updates, chosen))
