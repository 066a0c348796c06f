"""The accepted updates of a round, for a strategy to read in canonical order, repeatedly, and block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import numpy as np

from fedstream.errors import UpdateError

BLOCK = 32_768
"""Elements of a variable in a block; three float64 arrays of this size fit in a core's cache."""


@dataclass(frozen=True)
class Update:
    """What one client sent.

    Attributes:
        client: name of the client.
        num_examples: records that the client trained on, at least 1.
        weights: name -> array, with the names, shapes and dtypes of the global model, all finite. The arrays can be
            mapped from a file: they are read where they are used, and need no memory of their own.
        extras: the arrays that the strategy's LocalRule returns, checked in the same way; they can be mapped too.
        steps: optimizer steps that the client took, at least 1; they follow from its examples, the batch size and the
            epochs on record.
    """

    client: str
    num_examples: int
    weights: Mapping[str, np.ndarray]
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    steps: int = 1


class Block(NamedTuple):
    """The values of all clients for some elements of one variable.

    Attributes:
        name: name of the variable.
        part: which elements of the flattened variable the block contains.
        values: a one-dimensional view for each client, in canonical order.
    """

    name: str
    part: slice
    values: list[np.ndarray]


class Updates(Sequence[Update]):
    """The updates of a round, sorted by client.

    Args:
        updates: updates of different clients, in any order; at least one.
        population: number of clients of the run, whether they took part in the round or not; 0 for those of the
            updates.

    Attributes:
        population: number of clients of the run, at least the number of updates.

    Raises:
        UpdateError: there is no update, or a client has two.
    """

    def __init__(self, updates: Iterable[Update], population: int = 0) -> None:
        self._updates = sorted(updates, key=lambda update: update.client)
        if not self._updates:
            raise UpdateError("there is no update to aggregate; at least one client must send one")
        clients = [update.client for update in self._updates]
        if twice := sorted({client for client in clients if clients.count(client) > 1}):
            raise UpdateError(f"client {twice[0]!r} has two updates in one round; only one can count")
        self.population = max(population, len(self._updates))

    def __len__(self) -> int:
        return len(self._updates)

    @overload
    def __getitem__(self, index: int) -> Update: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Update]: ...
    def __getitem__(self, index: int | slice) -> Update | Sequence[Update]:
        return self._updates[index]

    @property
    def weighted(self) -> list[tuple[int, Mapping[str, np.ndarray]]]:
        """The (num_examples, weights) of each client."""
        return [(update.num_examples, update.weights) for update in self._updates]

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """Yield all elements of all floating variables, block by block.

        Args:
            size: maximum number of elements in a block.
        """
        for name, first in self._updates[0].weights.items():
            if np.issubdtype(first.dtype, np.floating):
                flat = [update.weights[name].reshape(-1) for update in self._updates]
                for start in range(0, first.size, size):
                    part = slice(start, min(start + size, first.size))
                    yield Block(name, part, [values[part] for values in flat])
