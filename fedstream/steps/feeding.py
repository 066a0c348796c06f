"""Which offsets a run's feed gives each client, given what the ledger says about earlier rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fedstream.record.decision import lineage
from fedstream.record.documents import SliceDoc
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange
from fedstream.store.state import RunState
from fedstream.stream.feed import Feed, Offered, feed_of


def ranges_of(state: RunState, round: int, client: str, offered: Offered = list) -> list[OffsetRange]:
    """Return the offsets that the feed gives a client in a round.

    Args:
        state: The run.
        round: Number of the round.
        client: Name of the client.
        offered: Returns what the client's owner offers at this moment; only a live run asks.
    """
    return _feed(state, round).ranges(
        state.record.client(client), round, partial(used_before, state, round, client), offered
    )


def why_not_fed(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return why a client's slice has offsets that the feed does not give it in a round, or an empty string."""
    return _feed(state, round).why_not(
        document.offsets, state.record.client(client), round, partial(used_before, state, round, client)
    )


def why_unexpected(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return how a slice differs from the client's plan or from its feed in a round, or an empty string."""
    return why_not_fed(state, round, document, client) or why_not_planned(document, state.record.client(client))


def used_before(state: RunState, round: int, client: str) -> Sequence[Sequence[OffsetRange]]:
    """Return the offsets that each accepted update of a client was trained on before a round, oldest first.

    Rounds that had been rolled back by then do not count.
    """
    before = lineage([commit for commit in state.ledger.commits() if commit.round < round])
    entries = [
        entry
        for commit in before
        if commit.kind == "training"
        for entry in commit.clients
        if entry.client == client and entry.accepted
    ]
    return [[OffsetRange(r.topic, r.partition, r.start, r.end) for r in entry.ranges] for entry in entries]


def _feed(state: RunState, round: int) -> Feed:
    spec = state.record.spec
    return feed_of(spec, state.selection(round).kind if spec.feed.live else "training")
