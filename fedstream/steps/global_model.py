"""A run's global model in Keras: the initial model's architecture, with a round's weights."""

from __future__ import annotations

from typing import Any

from fedstream.record.layout import ModelKeys
from fedstream.record.weights import from_bytes
from fedstream.store.state import RunState


def load_global_model(state: RunState, weights: bytes, where: str, threads: int | None = None) -> Any:
    """Return the run's Keras model with these weights. Imports TensorFlow.

    Args:
        state: the run.
        weights: safetensors bytes.
        where: their key, for the message.
        threads: TensorFlow's intra-op threads; None for the default.

    Raises:
        CorruptObject: the initial model or the weights are damaged.
        ModelError: the weights are not of this model.
    """
    from fedstream.model.files import load_keras
    from fedstream.model.keras_model import set_weights

    initial = state.record.model
    data = state.store.get_verified(ModelKeys(initial.name).initial(initial.keras_digest), initial.keras_digest)
    model = load_keras(data, threads)
    set_weights(model, from_bytes(weights, where))
    return model
