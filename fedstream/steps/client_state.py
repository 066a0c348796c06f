"""What a client keeps in the store from one round to the next, found from the ledger alone."""

from __future__ import annotations

from fedstream.record.decision import last_accepted
from fedstream.record.weights import Weights, from_bytes
from fedstream.steps.context import Context
from fedstream.store.state import RunState


def client_state(context: Context, state: RunState, round: int, client: str) -> Weights:
    """Return what a client kept in the last round before this one in which its update was accepted.

    The commits determine which round that is, so a repeated step finds the same arrays. Rounds that failed or that a
    rollback reverted do not count.

    Args:
        context: The context in which the step runs.
        state: The run.
        round: Number of the round.
        client: Name of the client.

    Returns:
        Name -> array; empty if no update of the client was accepted yet, or if it kept nothing.

    Raises:
        CorruptObject: The arrays in the store do not match the digest in the commit.
        ObjectNotFound: They are not in the store.
    """
    found = last_accepted(state.ledger.commit, round - 1, client)
    digest = found[1].client_state_digest if found else None
    if found is None or digest is None:
        return {}
    key = state.keys.at(found[0]).client_state(client, digest)
    return from_bytes(context.bytes_of(key, digest), key)
