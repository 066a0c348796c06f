"""Means of the middle values of each element: what the coordinate-wise strategies have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedstream.aggregation.fedavg import mean_of_block
from fedstream.aggregation.parallel import in_order
from fedstream.aggregation.updates import BLOCK, Place, Updates
from fedstream.record.weights import Weights

SORTED = 8 * BLOCK
"""Values of all clients that are sorted at once: 1 MiB of float32."""

READ = BLOCK // 2
"""Elements of each client that are read at once: less than 16 pages of each mapped file would slow down the reading."""


def trimmed_mean(base: Weights, updates: Updates, trimmed: int) -> Weights:
    """Return the mean of each element without its largest and smallest values, exact and rounded once.

    Args:
        base: the global model, for the variables that are not averaged.
        updates: at least 2 * trimmed + 1 updates, which all count the same.
        trimmed: number of values to leave out at either end.
    """
    return of_sorted(base, updates, lambda values: values[:, trimmed : values.shape[1] - trimmed])


def of_sorted(base: Weights, updates: Updates, kept: Callable[[np.ndarray], np.ndarray]) -> Weights:
    """Return the mean of some of the sorted values of each element, exact and rounded once.

    Sorting moves values and computes none, so the order of the clients, the processor and the threads do not matter.
    Beside the model, this needs the memory of a few blocks.

    Args:
        base: the global model, for the variables that are not averaged.
        updates: the updates, which all count the same.
        kept: of an array with the sorted values of an element in each row, returns the values to average, as many of
            each row.
    """
    weights = {name: np.array(array, order="C") for name, array in base.items()}

    width = max(1, SORTED // len(updates))

    def mean(place: Place) -> None:
        values, means = np.array(updates.at(place).values), weights[place.name].reshape(-1)[place.part]
        for at in range(0, means.size, width):
            middle = np.ascontiguousarray(kept(sorted_rows(values[:, at : at + width])).T)
            means[at : at + width] = mean_of_block(middle, [1] * len(middle))

    for _ in in_order(mean, updates.places(READ)):
        pass
    return weights


def sorted_rows(values: np.ndarray) -> np.ndarray:
    """Return an array with the values of all clients for an element in each row, in ascending order.

    Args:
        values: of each client, a row.
    """
    rows = np.array(values.T, order="C")
    # Turns -0.0 into 0.0: the two compare equal, so the order of the clients would decide which one is kept.
    rows += 0.0
    rows.sort(axis=1)
    return rows
