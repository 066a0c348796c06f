"""Which offsets a run's feed gives each client, given what the ledger says about earlier rounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fedstream.record.commit import ClientEntry
from fedstream.record.decision import lineage
from fedstream.record.documents import SliceDoc, offsets_of
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.record.run import MatchedClient
from fedstream.store.state import RunState
from fedstream.stream.feed import feed_of


def ranges_of(state: RunState, round: int, client: str) -> list[OffsetRange]:
    """Return the offsets that the feed gives a client in a round."""
    return feed_of(state.record.spec).ranges(
        state.record.client(client), round, partial(used_before, state, round, client)
    )


def unlabelled_ranges_of(state: RunState, round: int, client: str) -> list[OffsetRange]:
    """Return the offsets of records without labels that the feed gives a client in a round; empty for none."""
    planned = state.record.client(client)
    if not planned.unlabelled:
        return []
    return feed_of(state.record.spec).ranges(
        _unlabelled(planned), round, partial(unlabelled_used_before, state, round, client)
    )


def why_not_fed(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return why a client's slice has offsets that the feed does not give it in a round, or an empty string.

    The run limits how many of the records at these offsets the slice leaves out.
    """
    most = state.record.spec.max_skipped
    if (skipped := total_records(offsets_of(document.skipped))) > most:
        return f"it skips {skipped} records, but max_skipped allows {most}"
    feed, planned = feed_of(state.record.spec), state.record.client(client)
    reason = feed.why_not(document.fed, planned, round, partial(used_before, state, round, client))
    if reason or not planned.unlabelled:
        return reason
    used = partial(unlabelled_used_before, state, round, client)
    reason = feed.why_not(document.unlabelled_fed, _unlabelled(planned), round, used)
    return f"of its records without labels, {reason}" if reason else ""


def why_unexpected(state: RunState, round: int, document: SliceDoc, client: str) -> str:
    """Return how a slice differs from the client's plan or from its feed in a round, or an empty string."""
    return why_not_fed(state, round, document, client) or why_not_planned(document, state.record.client(client))


def used_before(state: RunState, round: int, client: str) -> Sequence[OffsetRange]:
    """Return the offsets that a client's accepted updates were trained on before a round.

    Rounds that had been rolled back by then do not count.
    """
    return [r for entry in _accepted_before(state, round, client) for r in offsets_of(entry.ranges)]


def unlabelled_used_before(state: RunState, round: int, client: str) -> Sequence[OffsetRange]:
    """Return the same for the records without labels."""
    return [r for entry in _accepted_before(state, round, client) for r in offsets_of(entry.unlabelled)]


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
    return client.model_copy(update={"ranges": client.unlabelled})
