"""The global model of a run: the weights of a round, checked against the digest on record.

A round's global.safetensors has the variables that travel. The others keep the values of the initial model.
"""

from __future__ import annotations

from fedstream.record.exchange import Parts, select
from fedstream.record.layout import ModelKeys
from fedstream.record.weights import Weights, from_bytes, to_bytes
from fedstream.steps.context import Context
from fedstream.store.state import RunState


def global_weights(context: Context, state: RunState, round: int, digest: str) -> Weights:
    """Return all weights of the global model that a round produced.

    Args:
        context: The context in which the step runs.
        state: The run.
        round: Number of the round that produced the weights.
        digest: SHA-256 of the weights on record.

    Raises:
        CorruptObject: The weights in the store are damaged.
    """
    key, model = state.keys.at(round).weights, state.record.model
    shared = from_bytes(context.bytes_of(key, digest), key)
    if state.record.parts is None:
        return shared
    initial = ModelKeys(model.name).initial(model.keras_digest, "safetensors")
    return from_bytes(context.bytes_of(initial, model.weights_digest), initial) | shared


def first_global(parts: Parts | None, initial: bytes, key: str) -> bytes:
    """Return the bytes of round 0's global model, given those of the initial weights and their key."""
    return initial if parts is None else to_bytes(select(from_bytes(initial, key), parts))
