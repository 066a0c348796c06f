"""The global model of a run: the weights of a round, checked against the digest on record."""

from __future__ import annotations

from fedstream.record.weights import Weights, from_bytes
from fedstream.steps.context import Context
from fedstream.store.state import RunState


def global_weights(context: Context, state: RunState, round: int, digest: str) -> Weights:
    """Return the weights of the global model that a round produced.

    Args:
        context: The context in which the step runs.
        state: The run.
        round: Number of the round that produced the weights.
        digest: SHA-256 of the weights on record.

    Raises:
        CorruptObject: The weights in the store are damaged.
    """
    key = state.keys.at(round).weights
    return from_bytes(context.bytes_of(key, digest), key)
