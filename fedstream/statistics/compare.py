"""Clients beside each other: whose feature looks as if it were measured in another unit. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from fedstream.record.statistics import ClientStatistics, FeatureSums, from_text

SHIFT = 2.0
"""How many standard deviations, the larger of both, a client's mean can be away from that of the other clients."""

SPREAD = 10.0
"""How many times as large as that of the other clients its standard deviation can be, or that of the others as its."""


@dataclass(frozen=True)
class Difference:
    """A feature of a client that has other values than at the other clients together.

    Attributes:
        client: Name of the client.
        feature: Name of the feature.
        own: Its mean and standard deviation at the client.
        others: Its mean and standard deviation at the others.
    """

    client: str
    feature: str
    own: tuple[float, float]
    others: tuple[float, float]

    def __str__(self) -> str:
        (mean, deviation), (other_mean, other_deviation) = self.own, self.others
        return (
            f"{self.feature} at {self.client} has mean {mean:.4g} and standard deviation {deviation:.4g}, at the other "
            f"clients {other_mean:.4g} and {other_deviation:.4g}; ask whether it is measured in the same unit"
        )


def differences(clients: Sequence[ClientStatistics]) -> list[Difference]:
    """Return the features of clients that look as if they had another unit or another meaning.

    Args:
        clients: The contributions that count, which all have the same features.
    """
    if len(clients) < 2:
        return []
    found = []
    for sums in zip(*(client.features for client in clients), strict=True):
        all_clients = _sum(list(sums))
        for client, own in zip(clients, sums, strict=True):
            here = _moments(_sum([own]))
            others = _moments(tuple(every - one for every, one in zip(all_clients, _sum([own]), strict=True)))
            if here and others and _apart(here, others):
                found.append(Difference(client.client, own.name, here, others))
    return found


def _sum(sums: Sequence[FeatureSums]) -> tuple[Fraction, ...]:
    """Return the number of values, their sum and the sum of their squares."""
    parts = [(Fraction(one.count), from_text(one.total), from_text(one.squares)) for one in sums]
    return tuple(sum(column, Fraction(0)) for column in zip(*parts, strict=True))


def _moments(sums: tuple[Fraction, ...]) -> tuple[float, float] | None:
    count, total, squares = sums
    if not count:
        return None
    mean = total / count
    variance = squares / count - mean * mean
    return (float(mean), math.sqrt(float(variance))) if variance >= 0 else None  # noise can make it negative


def _apart(own: tuple[float, float], others: tuple[float, float]) -> bool:
    small, large = sorted((own[1], others[1]))
    return abs(own[0] - others[0]) > SHIFT * large or (small > 0 and large > SPREAD * small)
