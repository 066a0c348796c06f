"""The accepted updates of a round, for a strategy to read in canonical order, repeatedly, and block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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


class Moved(Mapping[str, np.ndarray]):
    """Weights that were moved towards the global model: base + scale * (weights - base), rounded to their dtype.

    Nothing is kept: a variable, or a block of it, is computed where it is read, element by element in float64. Integer
    variables stay as they are.

    Args:
        base: the global model.
        weights: what a client sent, kept as the attribute `sent`.
        scale: how much of the change remains: 0 for the global model itself, 1 for the weights.
    """

    def __init__(self, base: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], scale: float) -> None:
        self.sent = weights
        self._base, self._scale = base, scale

    def __getitem__(self, name: str) -> np.ndarray:
        weights = self.sent[name]
        if not np.issubdtype(weights.dtype, np.floating):
            return weights
        moved = np.empty_like(weights).reshape(-1)
        for start in range(0, moved.size, BLOCK):
            part = slice(start, start + BLOCK)
            moved[part] = self.part(name, part)
        return moved.reshape(weights.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sent)

    def __len__(self) -> int:
        return len(self.sent)

    def part(self, name: str, part: slice) -> np.ndarray:
        """Return some elements of a flattened floating variable."""
        weights, start = self.sent[name].reshape(-1)[part], self._base[name].reshape(-1)[part].astype(np.float64)
        return (start + self._scale * (weights - start)).astype(weights.dtype)


def as_sent(weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return arrays whose names, shapes and dtypes are those of the weights, without computing any."""
    return weights.sent if isinstance(weights, Moved) else weights


def reader(weights: Mapping[str, np.ndarray], name: str) -> Callable[[slice], np.ndarray]:
    """Return a function that returns some elements of a flattened floating variable, without reading the others."""
    return partial(weights.part, name) if isinstance(weights, Moved) else weights[name].reshape(-1).__getitem__


class Place(NamedTuple):
    """Some elements of one variable.

    Attributes:
        name: name of the variable.
        part: which elements of the flattened variable.
    """

    name: str
    part: slice


class Block(NamedTuple):
    """The values of all clients for some elements of one variable.

    Attributes:
        name: name of the variable.
        part: which elements of the flattened variable the block contains.
        values: a one-dimensional array for each client, in canonical order; a view where the client's weights are
            as it sent them.
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
        self._readers: dict[str, list[Callable[[slice], np.ndarray]]] = {}
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

    def places(self, size: int = BLOCK) -> Iterator[Place]:
        """Yield places that together contain each element of all floating variables once.

        Args:
            size: maximum number of elements at a place.
        """
        for name, array in as_sent(self._updates[0].weights).items():
            if np.issubdtype(array.dtype, np.floating):
                for start in range(0, array.size, size):
                    yield Place(name, slice(start, min(start + size, array.size)))

    def at(self, place: Place) -> Block:
        """Return the values of all clients at a place. Several threads can read at once."""
        if place.name not in self._readers:
            self._readers[place.name] = [reader(update.weights, place.name) for update in self._updates]
        return Block(*place, [values(place.part) for values in self._readers[place.name]])

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """Yield all elements of all floating variables, block by block.

        Args:
            size: maximum number of elements in a block.
        """
        return map(self.at, self.places(size))
