"""Whether two parts of a run would use the same records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient


def shared_records(clients: Sequence[MatchedClient], evaluation: MatchedClient | None, default_servers: str) -> str:
    """Return who shares which records with whom, or an empty string.

    A record of two clients would be trained on by one of them while the other holds it out; one of the evaluation topic would be measured on after it
    was trained on.

    Args:
        clients: those that take part.
        evaluation: the evaluation topic's announcement, if the run has one.
        default_servers: addresses of the default brokers, as a site may spell them out.
    """
    owned = [(matched, f"client {matched.client!r}") for matched in clients] + (
        [(evaluation, "the evaluation topic")] if evaluation else []
    )
    ranges = sorted(
        (_brokers(matched.bootstrap_servers or default_servers), r.topic, r.partition, r.start, r.end, owner)
        for matched, owner in owned
        for r in parse_ranges(matched.ranges)
    )
    for before, after in pairwise(ranges):
        if before[:3] == after[:3] and after[3] < before[4]:
            shared = f"{after[1]}:{after[2]}:{after[3]}:{min(before[4], after[4])}"
            return f"{before[5]} and {after[5]} both announce records {shared}"
    return ""


def _brokers(servers: str) -> tuple[str, ...]:
    return tuple(sorted(part.strip() for part in servers.split(",")))
