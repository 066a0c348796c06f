"""Detect records that two parts of a run would both use. All functions are pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fedstream.record.offsets import OffsetRange, parse_ranges, unite
from fedstream.record.run import MatchedClient

NO_END = 2**63 - 1
"""Kafka's largest offset."""


def shared_records(clients: Sequence[MatchedClient], evaluation: MatchedClient | None, default_servers: str) -> str:
    """Return which two parts of a run share records, and which records, or an empty string.

    If two clients shared a record, one could train on it while the other holds it out. A record shared with the
    evaluation topic would be used for evaluation after a client trained on it.

    Args:
        clients: Clients that take part.
        evaluation: Announcement of the evaluation topic, if the run has one.
        default_servers: Addresses of the default brokers, since a site can also spell them out.
    """
    owned = [(matched, f"client {matched.client!r}") for matched in clients] + (
        [(evaluation, "the evaluation topic")] if evaluation else []
    )
    owners: dict[tuple[tuple[str, ...], str], str] = {}
    for matched, owner in owned:
        for topic in sorted({topic for stream in matched.streams for topic in stream.topics}):
            where = (_brokers(matched.bootstrap_servers or default_servers), topic)
            if (other := owners.setdefault(where, owner)) != owner:
                return f"{other} and {owner} both stream topic {topic!r}"
    ranges = sorted(
        (_brokers(matched.bootstrap_servers or default_servers), r.topic, r.partition, r.start, r.end, owner)
        for matched, owner in owned
        for r in _used(matched)
    )
    for before, after in pairwise(ranges):
        if before[:3] == after[:3] and after[3] < before[4]:
            shared = f"{after[1]}:{after[2]}:{after[3]}:{min(before[4], after[4])}"
            return f"{before[5]} and {after[5]} both announce records {shared}"
    return ""


def _used(matched: MatchedClient) -> list[OffsetRange]:
    """Return the ranges that a part of a run can use, with and without labels; a stream in a live run has no end."""
    if matched.stream is None:
        labelled = parse_ranges(matched.ranges)
        return unite([*labelled, *parse_ranges(matched.unlabelled)]) if matched.unlabelled else labelled
    return unite(
        OffsetRange(b.topic, b.partition, b.offset, NO_END) for stream in matched.streams for b in stream.beginnings
    )


def _brokers(servers: str) -> tuple[str, ...]:
    return tuple(sorted(part.strip() for part in servers.split(",")))
