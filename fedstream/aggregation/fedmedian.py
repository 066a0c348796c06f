"""FedMedian (Yin et al. 2018, arXiv 1803.01498, definition 1): the coordinate-wise median."""

from __future__ import annotations

from typing import ClassVar

from fedstream.aggregation.coordinates import trimmed_mean
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights


class FedMedian(Strategy):
    """The new global model is the median of each element; every client counts the same."""

    paper: ClassVar[str] = "Yin et al. 2018, arXiv 1803.01498, definition 1"
    when: ClassVar[str] = (
        "Any minority of the clients can send wrong or hostile updates, and nobody knows how many of them do."
    )

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the middle value of each element, or the exact mean of both middle values, rounded once."""
        return Aggregated(trimmed_mean(base, updates, (len(updates) - 1) // 2))
