"""Decide which offsets a client gets in a round.

Pure functions: ingest_from_kafka uses them to assign offsets, and the steps that judge a slice use them to check it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges, unite
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec

Used: TypeAlias = Callable[[], Sequence[OffsetRange]]
"""Returns the ranges that a client's accepted updates were trained on in the earlier committed rounds.

It is a function so that a feed that does not need them does not read the ledger.
"""


class Feed(ABC):
    """Assign offsets to each client in each round."""

    @abstractmethod
    def ranges(self, client: MatchedClient, round: int, used: Used) -> list[OffsetRange]:
        """Return the ranges that a client gets in a round, in canonical order.

        Args:
            client: The client with its announced ranges.
            round: Number of the round.
            used: Returns the ranges that the client has already trained on.
        """

    def why_not(self, given: Sequence[OffsetRange], client: MatchedClient, round: int, used: Used) -> str:
        """Return why a slice is not allowed to have these offsets, or an empty string.

        A feed that permits several choices overrides this method.

        Args:
            given: Offsets of the slice.
            client: The client with its announced ranges.
            round: Number of the round.
            used: Returns the ranges that the client has already trained on.
        """
        expected = self.ranges(client, round, used)
        return (
            ""
            if list(given) in (expected, unite(expected))
            else f"ranges is {format_ranges(given)!r}, expected {format_ranges(expected)!r}"
        )


class Announced(Feed):
    """A feed that assigns everything that the client announced, in every round."""

    def ranges(self, client: MatchedClient, round: int, used: Used) -> list[OffsetRange]:
        return parse_ranges(client.ranges)


def feed_of(spec: RunSpec) -> Feed:
    """Return the feed of a run."""
    return Announced()
