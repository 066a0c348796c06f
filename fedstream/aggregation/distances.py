"""Which updates are nearest to the others (Krum's score), decided as exact arithmetic on agreed distances decides it.

The squared distances that count are those of `Distances.agree`: differences and squares in float64, element by element,
added by halves, and blocks added in order, so that every processor computes the same bits. All of them would take
n * (n - 1) / 2 passes over the updates. Matrix products give them many times faster, but in an order of additions that
depends on the processor. So the products only rule out: each distance has a bound of its error, a score lies between
two bounds, and where the bounds leave a choice open, the distances of the updates in question are computed as agreed.
The choice is therefore the same everywhere, also between updates that differ by 1e-4 or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fedstream.aggregation.parallel import in_order
from fedstream.aggregation.updates import BLOCK, Place, Updates
from fedstream.record.sums import total
from fedstream.record.weights import Weights

GROUP, DEPTH = 32, 240
"""Rows and columns of a factor. OpenBLAS computes products of at most 2**18 multiplications in the calling thread; more
of them would start threads of its own beside those of this process."""

COLUMNS = 16 * DEPTH
"""Elements of all clients that are multiplied at once."""


class Distances:
    """The squared distances between all updates.

    Attributes:
        values: (clients, clients), float64.
        errors: bounds of the difference between `values` and the agreed distances; 0 where they are the agreed ones.

    Args:
        base: the global model; differences from it are what is multiplied. An update that is far from it makes its own
            distances inaccurate, and no others.
        updates: at least one.
    """

    def __init__(self, base: Weights, updates: Updates) -> None:
        self._updates = updates
        self._agreed: set[int] = set()
        flat = {name: array.reshape(-1) for name, array in base.items()}

        def products(place: Place) -> np.ndarray:
            with np.errstate(over="ignore", invalid="ignore"):  # float64 weights can be that large; see below
                return _products(np.array(updates.at(place).values), flat[place.name][place.part])

        gram, blocks = np.zeros((len(updates), len(updates))), sum(1 for _ in updates.places(COLUMNS))
        with np.errstate(over="ignore", invalid="ignore"):
            for product in in_order(products, updates.places(COLUMNS)):
                gram += product
            sizes = np.add.outer(gram.diagonal(), gram.diagonal())
            self.values = np.maximum(sizes - 2 * gram, 0.0)
            # No sum has more additions than these, here and as agreed, and no rounding is larger than 2**-53 of the
            # sizes; twice that also covers the differences and squares.
            self.errors = sizes * ((DEPTH + COLUMNS // DEPTH + 3 * blocks + 100) * 2.0**-51)
        unknown = ~(np.isfinite(self.values) & np.isfinite(self.errors))
        self.values[unknown], self.errors[unknown] = 0.0, np.inf
        np.fill_diagonal(self.values, 0.0)
        np.fill_diagonal(self.errors, 0.0)

    def is_agreed(self, client: int) -> bool:
        """Tell whether all distances of a client are the agreed ones."""
        return client in self._agreed

    def agree(self, clients: Sequence[int]) -> None:
        """Replace the distances of some clients by the agreed ones, which takes a pass over all updates for each."""

        def squares(place: Place) -> np.ndarray:
            values = updates.at(place).values
            with np.errstate(over="ignore"):
                return np.array(
                    [
                        [total(np.square(np.subtract(other, values[one], dtype=np.float64))) for other in values]
                        for one in clients
                    ]
                )

        updates, sums = self._updates, np.zeros((len(clients), len(self._updates)))
        for square in in_order(squares, updates.places(BLOCK)):
            sums += square
        for client, row in zip(clients, sums, strict=True):
            self.values[client], self.values[:, client] = row, row
            self.errors[client], self.errors[:, client] = 0.0, 0.0
        self._agreed.update(clients)


def nearest(distances: Distances, among: Sequence[int], neighbours: int, count: int) -> list[int]:
    """Return the updates with the lowest scores (Blanchard et al. 2017, section 4), sorted.

    The score of an update is the sum of its squared distances to the nearest others. Of updates with the same score,
    the first in canonical order counts as the lower.

    Args:
        distances: between all updates; made more exact where the choice needs it.
        among: indices of the updates to choose from, and of the others that count as neighbours, ascending.
        neighbours: number of distances in a score.
        count: number of updates to choose.
    """
    while True:
        lower = _scores(distances.values - distances.errors, among, neighbours)
        upper = _scores(distances.values + distances.errors, among, neighbours)
        order = sorted(among, key=lambda one: (upper[one], one))
        chosen, left = order[:count], order[count:]
        if not left:
            return sorted(chosen)
        highest, lowest = max(upper[one] for one in chosen), min(lower[one] for one in left)
        unsure = [one for one in chosen if upper[one] >= lowest] + [one for one in left if lower[one] <= highest]
        unsure = [one for one in unsure if not distances.is_agreed(one)]
        if not unsure:
            return sorted(chosen)
        distances.agree(unsure)


def _scores(squares: np.ndarray, among: Sequence[int], neighbours: int) -> dict[int, float]:
    """Return the sum of the smallest distances of each update, correctly rounded, so that bounds stay bounds."""
    some = np.maximum(squares[np.ix_(among, among)], 0.0)
    np.fill_diagonal(some, np.inf)
    some.sort(axis=1)
    nearest_others = some[:, : min(max(neighbours, 0), len(among) - 1)].tolist()
    return {one: math.fsum(row) for one, row in zip(among, nearest_others, strict=True)}


def _products(values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return the scalar products of the differences from the base, of each client with each.

    Args:
        values: of each client, a row.
        base: the same elements of the global model.
    """
    clients, size = values.shape
    depth = -(-size // DEPTH)
    rows = np.zeros((clients, depth * DEPTH))
    np.subtract(values, base, out=rows[:, :size], dtype=np.float64)
    groups = [rows[at : at + GROUP].reshape(-1, depth, DEPTH).transpose(1, 0, 2) for at in range(0, clients, GROUP)]
    products = np.empty((clients, clients))
    for i, left in enumerate(groups):
        for j, right in enumerate(groups[i:], i):
            tile = np.matmul(left, right.transpose(0, 2, 1)).sum(axis=0)
            one, other = slice(i * GROUP, (i + 1) * GROUP), slice(j * GROUP, (j + 1) * GROUP)
            products[one, other], products[other, one] = tile, tile.T
    return products
