"""Bulyan (El Mhamdi et al. 2018, arXiv 1802.07927, section 4): Krum repeatedly, then the middle of each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedstream.aggregation.coordinates import of_sorted
from fedstream.aggregation.distances import Distances, nearest
from fedstream.aggregation.strategy import Aggregated, Strategy, choice
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights


class Bulyan(Strategy):
    """Selects updates with Krum, and averages the values of each element that are closest to their median."""

    paper: ClassVar[str] = "El Mhamdi et al. 2018, arXiv 1802.07927, section 4"
    when: ClassVar[str] = (
        "Hostile clients can hide a large change of a few elements in an update that is near to the others; "
        "needs many clients."
    )

    byzantine: int = Field(
        1, ge=0, le=100_000, description="Number of clients that can be hostile, f in the paper; needs 4 f + 3 updates."
    )

    def fewest(self) -> int:
        return 4 * self.byzantine + 3

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the mean of the theta - 2 f values of each element that are closest to the median of theta.

        Theta = n - 2 f updates are selected one after the other, each as the nearest to those that are left; of equal
        scores, the first by name. Of equally close values, the smaller ones count. The mean is exact and rounded once.
        The figures name the clients that are selected and left out.
        """
        selected = self._select(Distances(base, updates), len(updates))
        chosen = Updates(updates[one] for one in selected)
        weights = of_sorted(base, chosen, closest_to_median(len(selected) - 2 * self.byzantine))
        return Aggregated(weights, figures=choice(updates, selected))

    def _select(self, distances: Distances, clients: int) -> list[int]:
        left = list(range(clients))
        selected = []
        for _ in range(clients - 2 * self.byzantine):
            neighbours = max(1, len(left) - self.byzantine - 2)  # with f = 1, the last choices would have none
            selected += nearest(distances, left, neighbours, 1)
            left.remove(selected[-1])
        return sorted(selected)


def closest_to_median(count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that, of each row of sorted values, returns the `count` values closest to the row's median.

    They lie beside each other. The window moves up as long as the value that it gains is closer than the one it loses.
    """

    def closest(rows: np.ndarray) -> np.ndarray:
        size = rows.shape[1]
        with np.errstate(over="ignore"):  # float64 values can be that far apart; infinite distances are equal
            middle = rows[:, (size - 1) // 2 : size // 2 + 1].mean(axis=1, dtype=np.float64, keepdims=True)
            below, above = middle - rows[:, : size - count], rows[:, count:] - middle
        first = (below > above).sum(axis=1, keepdims=True)
        return np.take_along_axis(rows, first + np.arange(count), axis=1)

    return closest
