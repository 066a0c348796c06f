"""Freeze which clients a round asks, and for what."""

from __future__ import annotations

from fedstream.errors import ObjectConflict
from fedstream.record.documents import Selection
from fedstream.record.selection import select
from fedstream.store.state import Kind, RunState, log


def freeze_selection(state: RunState, round: int, kind: Kind) -> Selection:
    """Write the selection of a round, unless it is on record, and return the one that counts."""
    selection = Selection(run=state.run, round=round, kind=kind, clients=clients_of(state, round))
    try:
        state.put_new(state.keys.at(round).selection, selection)
    except ObjectConflict:
        log.info("another submission has selected the clients of round %d; its selection counts", round)
    return state.selection(round)


def clients_of(state: RunState, round: int) -> list[str]:
    """Return the clients that a round asks."""
    return select(state.record.spec, round, [client.client for client in state.record.clients])
