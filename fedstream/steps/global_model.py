"""A run's global model: the weights of a round, checked against the digest on record."""

from __future__ import annotations

from fedstream.record.weights import Weights, from_bytes
from fedstream.steps.context import Context
from fedstream.store.state import RunState


def global_weights(context: Context, state: RunState, round: int, digest: str) -> Weights:
    """Return the weights of the global model that a round made.

    Args:
        context: where the step works.
        state: the run.
        round: that made them.
        digest: their SHA-256 on record.

    Raises:
        CorruptObject: the weights in the store are damaged.
    """
    key = state.keys.at(round).weights
    return from_bytes(context.bytes_of(key, digest), key)
