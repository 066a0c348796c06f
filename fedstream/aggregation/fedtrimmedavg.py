"""FedTrimmedAvg (Yin et al. 2018, arXiv 1803.01498, definition 2): the coordinate-wise trimmed mean."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.coordinates import trimmed_mean
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights


class FedTrimmedAvg(Strategy):
    """Leaves out the largest and smallest values of each element; the new model is the unweighted mean of the rest."""

    paper: ClassVar[str] = "Yin et al. 2018, arXiv 1803.01498, definition 2"
    when: ClassVar[str] = (
        "Some clients can send wrong or hostile updates: up to the fraction beta of them can do little harm."
    )

    beta: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="Fraction of the updates to leave out at either end, rounded down to whole updates.",
    )

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the exact mean of the values that are kept, rounded once."""
        clients = len(updates)
        trimmed = int(Fraction(str(self.beta)) * clients)  # 0.29 of 100 is 29; floats would give 28
        return Aggregated(
            trimmed_mean(base, updates, trimmed),
            figures={"trimmed_updates": 2 * trimmed, "trimmed_share": 2 * trimmed / clients},
        )
