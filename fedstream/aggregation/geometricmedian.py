"""GeometricMedian (Pillutla et al. 2019, arXiv 1912.13445, algorithm 2): RFA, by the smoothed Weiszfeld algorithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.coordinates import trimmed_mean
from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.norms import distance
from fedstream.aggregation.parallel import in_order
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Updates
from fedstream.record.weights import Weights

FARTHEST = 1e280
"""The largest distance that counts as such, so that sums of distances stay finite."""

FINEST = 2**30
"""The largest weight of an update in a step; the others are whole numbers too, so that the mean is exact."""


class GeometricMedian(Strategy):
    """The new global model has the smallest sum of distances, not squared, to the updates, weighted by examples."""

    paper: ClassVar[str] = "Pillutla et al. 2019, arXiv 1912.13445, algorithm 2 (RFA)"
    when: ClassVar[str] = (
        "Clients with less than half of the examples can be hostile, and nobody knows how many they are; "
        "unlike the median of each element, it keeps the elements of a model together."
    )

    iterations: int = Field(8, ge=1, le=100, description="Most steps of the Weiszfeld algorithm, each a mean.")
    smoothing: float = Field(
        1e-6, gt=0, le=1, description="Smallest distance that an update's weight is divided by, nu in the paper."
    )
    tolerance: float = Field(
        1e-4, ge=0, lt=1, description="Stops when a step improves the sum of distances by less than this fraction."
    )

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the point that the steps reach from the median of each element.

        The base would be no start: every client knows it, and steps do not leave a point at which an update is.

        Distances are those of `norms.distance`, and each point is an exact mean rounded to the model's dtype, so every
        processor takes the same steps. The figures are the number of steps, and the mean distance before the last one.
        """
        examples = [update.num_examples for update in updates]
        point = trimmed_mean(base, updates, (len(updates) - 1) // 2)
        mean_distance, steps = math.inf, 0
        while steps < self.iterations:
            distances = _distances(point, updates)
            before, mean_distance = mean_distance, _mean(distances, examples)
            if before - mean_distance <= self.tolerance * before < math.inf:
                break
            counts = step_weights(distances, examples, self.smoothing)
            point = federated_average(
                [(count, update.weights) for count, update in zip(counts, updates, strict=True) if count]
            )
            steps += 1
        return Aggregated(point, figures={"steps": float(steps), "mean_distance": mean_distance})


def _distances(point: Weights, updates: Updates) -> list[float]:
    return list(in_order(lambda update: min(distance(point, update.weights), FARTHEST), updates))


def step_weights(distances: Sequence[float], examples: Sequence[int], smoothing: float) -> list[int]:
    """Return the weights of the updates in a step: examples / max(smoothing, distance), as whole numbers.

    An update whose weight is less than 2**-31 of the largest has none.

    Args:
        distances: of each update from the current point, finite.
        examples: of each update, at least 1.
        smoothing: above 0.
    """
    weights = [count / max(smoothing, distance) for count, distance in zip(examples, distances, strict=True)]
    largest = max(weights)
    return [round(weight / largest * FINEST) for weight in weights]


def _mean(distances: Sequence[float], examples: Sequence[int]) -> float:
    products = (count * distance for count, distance in zip(examples, distances, strict=True))
    return math.fsum(products) / sum(examples)
