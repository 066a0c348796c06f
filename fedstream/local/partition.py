"""Divide the records of a data set among clients. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import UsageError

T = TypeVar("T", int, float)

Indices = NDArray[np.intp]
"""Indices of records, shape (n,)."""


@dataclass(frozen=True)
class Iid:
    """An even random split."""

    def split(self, labels: NDArray[np.generic], clients: int, rng: np.random.Generator) -> list[Indices]:
        """Return the indices of each client's records."""
        return np.array_split(rng.permutation(len(labels)), clients)


@dataclass(frozen=True)
class Shards:
    """Shards of the records sorted by label, as in McMahan et al. 2017 (arXiv 1602.05629), section 3.

    Attributes:
        per_client: Number of shards of each client, at least 1.
    """

    per_client: int = 2

    def split(self, labels: NDArray[np.generic], clients: int, rng: np.random.Generator) -> list[Indices]:
        """Return the indices of each client's records."""
        shards = np.array_split(np.argsort(labels, kind="stable"), clients * self.per_client)
        order = rng.permutation(len(shards)).reshape(clients, self.per_client)
        return [np.concatenate([shards[shard] for shard in own]) for own in order]


@dataclass(frozen=True)
class Dirichlet:
    """A Dirichlet draw for each class, as in Li et al. 2022 (NIID-Bench, arXiv 2102.02079), section IV.

    The records of each class are divided among the clients in proportions drawn from Dir(alpha). A client can end up
    without records.

    Attributes:
        alpha: Concentration, above 0. The smaller the value, the fewer classes a client sees.
    """

    alpha: float = 0.5

    def split(self, labels: NDArray[np.generic], clients: int, rng: np.random.Generator) -> list[Indices]:
        """Return the indices of each client's records."""
        dealt: list[list[Indices]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            indices = rng.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(rng.dirichlet([self.alpha] * clients))[:-1] * len(indices)).astype(int)
            for own, part in zip(dealt, np.split(indices, cuts), strict=True):
                own.append(part)
        return [np.concatenate(own) for own in dealt]


Partition = Iid | Shards | Dirichlet

FORMS = "iid, shards[:PER_CLIENT] or dirichlet[:ALPHA]"
"""The texts that `parse_partition` accepts."""


def parse_partition(text: str) -> Partition:
    """Read a partition such as `iid`, `shards:2` or `dirichlet:0.5`.

    Raises:
        UsageError: The name is not known, or the parameter is invalid.
    """
    name, _, parameter = text.partition(":")
    if name == "iid" and not parameter:
        return Iid()
    if name == "shards":
        return Shards(_number(text, parameter, int, 1, 1_000)) if parameter else Shards()
    if name == "dirichlet":
        return Dirichlet(_number(text, parameter, float, 1e-6, 1e6)) if parameter else Dirichlet()
    raise UsageError(f"partition {text!r} is not known; use {FORMS}")


def deal(labels: NDArray[np.generic], clients: int, partition: Partition | str, seed: int = 0) -> list[Indices]:
    """Divide records among clients and return the indices of each client's records, shuffled.

    The clients' records are disjoint and cover the data set. The result depends only on the arguments.

    Args:
        labels: Class numbers of shape (n,).
        clients: Number of clients, at most n.
        partition: How to divide the records, or its text.
        seed: Seed of the random generator.

    Raises:
        UsageError: There are fewer records than clients or than shards, or the text is not a partition.
    """
    way = parse_partition(partition) if isinstance(partition, str) else partition
    if clients > len(labels):
        raise UsageError(f"{len(labels)} records cannot be divided among {clients} clients; use fewer clients")
    if isinstance(way, Shards) and clients * way.per_client > len(labels):
        raise UsageError(
            f"{len(labels)} records cannot be divided into {clients} x {way.per_client} shards; "
            "use fewer clients or fewer shards"
        )
    rng = np.random.default_rng(seed)
    return [rng.permutation(indices) for indices in way.split(labels, clients, rng)]


def by_value(values: NDArray[np.generic]) -> dict[str, Indices]:
    """Return the indices of the records of each value, by the value's text, in the order of the texts.

    Args:
        values: One value for each record, shape (n,).
    """
    texts = np.array([str(value).strip() for value in values.tolist()], dtype=str)
    return {str(text): np.flatnonzero(texts == text) for text in np.unique(texts)}


def _number(text: str, parameter: str, kind: type[T], least: T, most: T) -> T:
    value: T | None
    try:
        value = kind(parameter)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"partition {text!r}: {parameter!r} is not {what} from {least:,} to {most:,}")
    return value
