"""Which offsets a client gets in a round. Pure: ingest_from_kafka gives by it, and whoever judges a slice checks it by the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec

Used: TypeAlias = Callable[[], Sequence[OffsetRange]]
"""What a client's accepted updates were trained on in the committed rounds before; a feed that does not ask costs no look at the ledger."""


class Feed(ABC):
    """Gives each client its offsets of each round."""

    @abstractmethod
    def ranges(self, client: MatchedClient, round: int, used: Used) -> list[OffsetRange]:
        """Return what a client gets in a round, in canonical order.

        Args:
            client: with what it announced.
            round: number of the round.
            used: what it has trained on before.
        """

    def why_not(self, given: Sequence[OffsetRange], client: MatchedClient, round: int, used: Used) -> str:
        """Return why a slice cannot have these offsets, or an empty string; a feed that leaves a choice says here what it allows.

        Args:
            given: the slice's offsets.
            client: with what it announced.
            round: number of the round.
            used: what it has trained on before.
        """
        expected = self.ranges(client, round, used)
        return (
            ""
            if list(given) == expected
            else f"ranges is {format_ranges(given)!r}, expected {format_ranges(expected)!r}"
        )


class Announced(Feed):
    """Everything that the client announced, in every round."""

    def ranges(self, client: MatchedClient, round: int, used: Used) -> list[OffsetRange]:
        return parse_ranges(client.ranges)


def feed_of(spec: RunSpec) -> Feed:
    """Return the feed of a run."""
    return Announced()
