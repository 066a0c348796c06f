"""Which offsets a run's feed gives each client, given what the ledger says about earlier rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from fedstream.record.commit import ClientEntry
from fedstream.record.decision import lineage
from fedstream.record.documents import SliceDoc, offsets_of
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.record.run import MatchedClient
from fedstream.store.state import RunState
from fedstream.stream.feed import Feed, Offered, feed_of, unlabelled_feed_of


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


def unlabelled_ranges_of(state: RunState, round: int, client: str, offered: Offered = list) -> list[OffsetRange]:
    """Return the offsets of records without labels that the feed gives a client in a round; empty for none."""
    planned = state.record.client(client)
    if not planned.unlabelled:
        return []
    return _unlabelled_feed(state, round).ranges(
        _unlabelled(planned), round, partial(unlabelled_used_before, state, round, client), offered
    )


def why_not_fed(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return why a client's slice has offsets that the feed does not give it in a round, or an empty string.

    The run limits how many of the records at these offsets the slice leaves out.
    """
    most = state.record.spec.max_skipped
    if (skipped := total_records(offsets_of(document.skipped))) > most:
        return f"it skips {skipped} records, but max_skipped allows {most}"
    planned = state.record.client(client)
    reason = _feed(state, round).why_not(document.fed, planned, round, partial(used_before, state, round, client))
    if reason or not planned.unlabelled:
        return reason
    used = partial(unlabelled_used_before, state, round, client)
    reason = _unlabelled_feed(state, round).why_not(document.unlabelled_fed, _unlabelled(planned), round, used)
    return f"of its records without labels, {reason}" if reason else ""


def why_unexpected(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return how a slice differs from the client's plan or from its feed in a round, or an empty string."""
    return why_not_fed(state, round, document, client) or why_not_planned(document, state.record.client(client))


def used_before(state: RunState, round: int, client: str) -> Sequence[Sequence[OffsetRange]]:
    """Return the offsets that each accepted update of a client was trained on before a round, oldest first.

    Rounds that had been rolled back by then do not count.
    """
    return [offsets_of(entry.ranges) for entry in _accepted_before(state, round, client)]


def unlabelled_used_before(state: RunState, round: int, client: str) -> Sequence[Sequence[OffsetRange]]:
    """Return the same for the records without labels."""
    return [offsets_of(entry.unlabelled) for entry in _accepted_before(state, round, client)]


def _accepted_before(state: RunState, round: int, client: str) -> list[ClientEntry]:
    before = lineage([commit for commit in state.ledger.commits() if commit.round < round])
    return [
        entry
        for commit in before
        if commit.kind == "training"
        for entry in commit.clients
        if entry.client == client and entry.accepted
    ]


def _unlabelled(client: MatchedClient) -> MatchedClient:
    """Return the client as a feed sees it that gives out the records without labels."""
    return client.model_copy(update={"ranges": client.unlabelled, "stream": client.unlabelled_stream})


def _feed(state: RunState, round: int) -> Feed:
    return feed_of(state.record.spec, _kind(state, round))


def _unlabelled_feed(state: RunState, round: int) -> Feed:
    return unlabelled_feed_of(state.record.spec, _kind(state, round))


def _kind(state: RunState, round: int) -> Literal["training", "closing"]:
    return state.selection(round).kind if state.record.spec.feed.live else "training"
