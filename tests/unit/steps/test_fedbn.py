"""FedBN: each client keeps the normalization of its own records, with a small Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.federation import digests, objects, run, run_in_pieces

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.model._tensorflow import keras
from fedstream.model.files import save_keras
from fedstream.steps.context import Context
from fedstream.stream.send import send_dataset

FEDBN: dict[str, Any] = {"model": "bn", "rounds": 2, "epochs": 2, "exchange": {"personal": ["*/batch_normalization*"]}}


@pytest.fixture(scope="module")
def file() -> bytes:
    layers = keras().layers
    keras().utils.set_random_seed(1)
    model = keras().Sequential(
        [
            keras().Input((4,)),
            layers.BatchNormalization(name="batch_normalization"),
            layers.Dense(2, "softmax", name="dense"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save_keras(model)


def federation(file: bytes) -> Context:
    """Return two clients whose records have the same classes at different scales."""
    context = Context.in_memory()
    add_model(context.store, "bn", file)
    for seed, (client, scale) in enumerate({"north": 1, "south": 50}.items()):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 60).astype(np.uint8)
        x = (rng.normal(size=(60, 4)) + 2 * labels[:, None]).astype(np.float32) * scale
        send_dataset(context.brokers.at(""), client, client, x, labels, validation_rate=0.2)
    return context


def test_each_client_keeps_the_statistics_of_its_own_records(file: bytes) -> None:
    state = run(federation(file), **FEDBN)
    sent = objects(state, "/updates/") | objects(state, "global")
    assert {name for arrays in sent.values() for name in arrays} == {"dense/kernel", "dense/bias"}
    kept = objects(state, "/client_states/")
    assert {len(arrays) for arrays in kept.values()} == {4}
    means = {
        client: [arrays["personal//batch_normalization/moving_mean"] for key, arrays in kept.items() if client in key]
        for client in ("north", "south")
    }
    assert np.abs(means["south"]).min() > 5 * np.abs(means["north"]).max()
    audit = verify_run(state.store, "r")
    assert audit.ok, audit.problems


def test_resumed_each_round_it_has_the_same_digests(file: bytes) -> None:
    whole, pieces = run(federation(file), **FEDBN), run_in_pieces(federation(file), **FEDBN)
    assert digests(pieces) == digests(whole)
    assert [commit.metrics for commit in pieces.ledger.commits()] == [c.metrics for c in whole.ledger.commits()]
