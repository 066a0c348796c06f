"""How far the slices of a live run have drifted from the first one of their client, read from the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fedstream.record.documents import SliceDoc
from fedstream.record.layout import RunKeys
from fedstream.record.summary import Drift, drift
from fedstream.report.reading import read_if_sound
from fedstream.store.store import Store

MAX_ROUNDS = 100
"""Maximum number of rounds, the newest ones, whose slices are read and compared with the first."""


def read_drifts(
    store: Store, keys: RunKeys, client: str, rounds: Sequence[int], there: Collection[str]
) -> dict[int, Drift]:
    """Return how far a client's slices are from its first one.

    Args:
        store: Bucket of the run.
        keys: Keys of the run.
        client: Name of the client.
        rounds: Rounds in which its updates count, in order.
        there: Keys that exist.
    """
    found = {}
    for number in [*rounds[:1], *rounds[1:][-MAX_ROUNDS:]]:
        key = keys.at(number).slice(client)
        if key in there and (document := read_if_sound(store, SliceDoc, key)):
            found[number] = document.class_counts, document.summary
    if not rounds or rounds[0] not in found:
        return {}
    return {number: drift(found[rounds[0]], what) for number, what in found.items()}
