"""Weights as safetensors bytes: equal weights always have equal bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedstream.errors import CorruptObject
from fedstream.record.canonical import sha256_hex

Weights = dict[str, np.ndarray]


def to_bytes(weights: Mapping[str, np.ndarray]) -> bytes:
    """Serialise weights (name -> array of any numeric dtype and shape), sorted by name, without metadata."""
    return save({name: np.ascontiguousarray(weights[name]).reshape(weights[name].shape) for name in sorted(weights)})


def from_bytes(data: bytes, where: str) -> Weights:
    """Return the weights in safetensors bytes.

    Args:
        data: the bytes.
        where: key of the bytes, for the message.

    Raises:
        CorruptObject: the bytes are not valid safetensors.
    """
    try:
        return dict(load(data))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorruptObject(
            f"{where} holds no valid safetensors ({error}); it is damaged, or was not written by fedstream"
        ) from error


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the weights' bytes."""
    return sha256_hex(to_bytes(weights))
