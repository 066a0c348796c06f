"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685), by Keras' own `enable_lora`.

Keras saves a model with adapters as if they were merged, and nested layers forget them. So the model file says in an
entry of its own which layers have adapters; whoever loads it gets them with the same initial values.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from fedstream.errors import ModelError
from fedstream.model._tensorflow import KerasModel
from fedstream.model.archive import CONFIG, read_archive, walk, write_archive
from fedstream.model.keras_model import get_weights, travelling
from fedstream.record.canonical import canonical_json
from fedstream.record.document import Document
from fedstream.record.exchange import is_adapter
from fedstream.record.weights import Weights

ENTRY = "fedstream_lora.json"
"""Name of the entry in a .keras file."""

MAX_RANK, MAX_LAYERS = 1_024, 10_000


class Adapters(Document):
    """Which layers of a model have adapters.

    Attributes:
        rank: number of columns of A and of rows of B.
        layers: paths of the layers.
    """

    rank: int = Field(ge=1, le=MAX_RANK)
    layers: list[Annotated[str, Field(max_length=1_000)]] = Field(min_length=1, max_length=MAX_LAYERS)


def read_entry(contents: Mapping[str, bytes], where: str) -> Adapters | None:
    """Return the adapters that a model file asks for, or None.

    Raises:
        ModelError: the entry is damaged.
    """
    try:
        return Adapters.model_validate_json(contents[ENTRY]) if ENTRY in contents else None
    except ValidationError as error:
        raise ModelError(
            f"{ENTRY} in {where} names no adapters ({error.errors()[0]['msg']}); add the base model with --lora-rank"
        ) from error


def entry_of(model: KerasModel) -> dict[str, bytes]:
    """Return the entry for the file of a model, by name; empty if the model has no adapters."""
    enabled = {name: layer for name, layer in adaptable(model).items() if layer.lora_enabled}
    if not enabled:
        return {}
    rank = next(iter(enabled.values())).lora_rank
    return {ENTRY: entry(Adapters(rank=rank, layers=sorted(enabled)))}


def entry(adapters: Adapters) -> bytes:
    """Return the content of the entry."""
    return canonical_json(adapters.model_dump(mode="json"))


def adaptable(model: KerasModel) -> dict[str, Any]:
    """Return the layers that support LoRA, such as Dense, EinsumDense and Embedding, by path."""
    names = {id(variable): name for name, variable in travelling(model).items()}
    layers = {}
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "enable_lora") and id(_adapted(layer)) in names:
            layers[names[id(_adapted(layer))].rpartition("/")[0]] = layer
    return layers


def enable(model: KerasModel, adapters: Adapters | None) -> None:
    """Give layers of a loaded model their adapters, with the initial values that they have in every process.

    B is zero, so the model predicts as before. A is drawn as Keras does (He, uniform), but from the layer's path.

    Raises:
        ModelError: the model has no such layer, or Keras cannot enable LoRA for it.
    """
    layers = adaptable(model)
    for name in adapters.layers if adapters else []:
        if name not in layers:
            raise ModelError(f"the model has no layer {name!r} that supports LoRA; add the base model with --lora-rank")
        try:
            if adapters and not layers[name].lora_enabled:
                layers[name].enable_lora(adapters.rank)
        except (ValueError, NotImplementedError) as error:
            raise ModelError(f"layer {name!r} cannot have a LoRA adapter: {error}") from error
    enabled = {name: layer for name, layer in layers.items() if layer.lora_enabled}
    for name, layer in enabled.items():
        a, b = _factors(layer)
        a.assign(_first(name, tuple(a.shape)))
        b.assign(np.zeros(b.shape, np.float32))
    if enabled:  # the optimizer has to know the new variables
        model.compile_from_config(model.get_compile_config())


def merged(model: KerasModel) -> Weights:
    """Return the weights of a model without adapters that predicts like a model with them."""
    names, weights = {id(variable): name for name, variable in travelling(model).items()}, get_weights(model)
    for layer in adaptable(model).values():
        if layer.lora_enabled:
            value = layer.kernel if hasattr(layer, "kernel") else layer.embeddings
            weights[names[id(_adapted(layer))]] = np.array(value)
    return {name: array for name, array in weights.items() if not is_adapter(name)}


def has_adapters(model: KerasModel) -> bool:
    """Tell whether any layer of a model has an adapter."""
    return any(is_adapter(name) for name in travelling(model))


def without_adapters(data: bytes) -> bytes:
    """Return the file of the model without adapters."""
    contents = read_archive(data, "the model")
    contents.pop(ENTRY, None)
    config = json.loads(contents[CONFIG])
    for part in walk(config):
        for name in ("lora_rank", "lora_alpha"):
            if name in part:
                part[name] = None
    return write_archive(contents | {CONFIG: json.dumps(config).encode()})


def _adapted(layer: Any) -> Any:
    """Return the variable of a layer that an adapter stands beside."""
    return getattr(layer, "_kernel", None) if hasattr(layer, "_kernel") else getattr(layer, "_embeddings", None)


def _factors(layer: Any) -> tuple[Any, Any]:
    if hasattr(layer, "lora_kernel_a"):
        return layer.lora_kernel_a, layer.lora_kernel_b
    return layer.lora_embeddings_a, layer.lora_embeddings_b


def _first(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the initial A of a layer."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    limit = math.sqrt(6 / max(1, math.prod(shape[:-1])))
    return np.random.default_rng(seed).uniform(-limit, limit, shape).astype(np.float32)
