"""Decide which offsets a client gets in a round.

Pure functions: ingest_from_kafka uses them to assign offsets, and the steps that judge a slice use them to check it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedstream.errors import RecordError
from fedstream.record.offsets import OffsetRange, format_ranges, parse_ranges, total_records, unite
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.record.stream import Stream, next_records, why_not_next

Used: TypeAlias = Callable[[], Sequence[Sequence[OffsetRange]]]
"""Returns the ranges of each accepted update of a client in the earlier committed rounds, oldest first.

It is a function so that a feed that does not need them does not read the ledger.
"""

Offered: TypeAlias = Callable[[], Sequence[OffsetRange]]
"""Returns the ranges that a client's owner offers at this moment and whose records are in the topic."""


class Feed(ABC):
    """Assign offsets to each client in each round."""

    @abstractmethod
    def ranges(self, client: MatchedClient, round: int, used: Used, offered: Offered) -> list[OffsetRange]:
        """Return the ranges that a client gets in a round, in canonical order; none while they have to be waited for.

        Args:
            client: The client with its announced ranges.
            round: Number of the round.
            used: Returns the ranges that the client has already trained on.
            offered: Returns what there is to choose from, for a feed that chooses.
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
        expected = self.ranges(client, round, used, list)
        return (
            ""
            if list(given) in (expected, unite(expected))
            else f"ranges is {format_ranges(given)!r}, expected {format_ranges(expected)!r}"
        )


class Announced(Feed):
    """A feed that assigns everything that the client announced, in every round."""

    def ranges(self, client: MatchedClient, round: int, used: Used, offered: Offered) -> list[OffsetRange]:
        return parse_ranges(client.ranges)


@dataclass(frozen=True)
class New(Feed):
    """A feed that assigns what follows the records of the client's last update that counts.

    Attributes:
        at_least: Fewest records of a slice.
        at_most: Most records of a slice.
    """

    at_least: int
    at_most: int

    def ranges(self, client: MatchedClient, round: int, used: Used, offered: Offered) -> list[OffsetRange]:
        found = next_records(_stream(client), _all(used), offered(), self.at_most)
        return found if total_records(found) >= self.at_least else []

    def why_not(self, given: Sequence[OffsetRange], client: MatchedClient, round: int, used: Used) -> str:
        return why_not_next(_stream(client), _all(used), given, self.at_least, self.at_most)


class Latest(Feed):
    """A feed that assigns the records of the client's last update again, to measure the model that they went into."""

    def ranges(self, client: MatchedClient, round: int, used: Used, offered: Offered) -> list[OffsetRange]:
        if why := _why_nothing_used(client, used):
            raise RecordError(why)
        return list(used()[-1])

    def why_not(self, given: Sequence[OffsetRange], client: MatchedClient, round: int, used: Used) -> str:
        return _why_nothing_used(client, used) or super().why_not(given, client, round, used)


class Nothing(Feed):
    """A feed that assigns no records, for a round that only measures."""

    def ranges(self, client: MatchedClient, round: int, used: Used, offered: Offered) -> list[OffsetRange]:
        return []


def feed_of(spec: RunSpec, kind: Literal["training", "closing"] = "training") -> Feed:
    """Return the feed of a run's rounds of one kind."""
    if not spec.feed.live:
        return Announced()
    return New(spec.feed.at_least, spec.feed.at_most) if kind == "training" else Latest()


def unlabelled_feed_of(spec: RunSpec, kind: Literal["training", "closing"] = "training") -> Feed:
    """Return the feed of the records without labels, for which a live run does not wait."""
    if not spec.feed.live:
        return Announced()
    return New(0, spec.feed.at_most) if kind == "training" else Nothing()


def _all(used: Used) -> list[OffsetRange]:
    return [r for ranges in used() for r in ranges]


def _why_nothing_used(client: MatchedClient, used: Used) -> str:
    return "" if used() else f"client {client.client!r} has no update that counts, and so no records to measure with"


def _stream(client: MatchedClient) -> Stream:
    assert client.stream is not None  # the plan of a live run gives each client one
    return client.stream
