"""LoRA adapters: which layers get them, that files keep them, that they predict like the merged model, and a run."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from support.federation import digests, objects, run, run_in_pieces

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.catalog.versions import find_latest, read_version_file
from fedstream.errors import ModelError, UsageError
from fedstream.model._tensorflow import keras
from fedstream.model.adapters import ENTRY, has_adapters, merged, without_adapters
from fedstream.model.archive import read_archive, write_archive
from fedstream.model.files import describe, load_keras, save_keras
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.source import with_lora
from fedstream.steps.context import Context
from fedstream.steps.global_model import global_weights
from fedstream.stream.send import send_dataset

RECORDS = np.random.default_rng(0).normal(size=(80, 4, 64)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, 80).astype(np.uint8)
RECORDS[np.arange(80), LABELS] += 2


@cache
def transformer() -> bytes:
    """Return a file of one block of a transformer."""
    layers = keras().layers
    keras().utils.set_random_seed(1)
    tokens = keras().Input((4, 64))
    mixed = layers.MultiHeadAttention(4, 64, name="attention")(tokens, tokens)
    mixed = layers.LayerNormalization(name="norm_1")(layers.Add()([tokens, mixed]))
    wide = layers.Dense(512, activation="relu", name="wide")(mixed)
    mixed = layers.LayerNormalization(name="norm_2")(layers.Add()([mixed, layers.Dense(64, name="narrow")(wide)]))
    classes = layers.Dense(4, activation="softmax", name="classes")(layers.Flatten()(mixed))
    model = keras().Model(tokens, classes)
    model.compile(keras().optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save_keras(model)


def small(*layers: Any) -> bytes:
    keras().utils.set_random_seed(1)
    model = keras().Sequential([keras().Input((6,)), *layers])
    model.compile("sgd", "mse")
    return save_keras(model)


def moved(model: Any) -> None:
    """Give the adapters values as after training."""
    rng = np.random.default_rng(2)
    weights = get_weights(model)
    adapted = {name: array for name, array in weights.items() if "lora_" in name}
    set_weights(model, weights | {n: rng.normal(0, 0.2, a.shape).astype(np.float32) for n, a in adapted.items()})


def test_adapters_stand_beside_every_kernel_and_change_no_prediction_at_first() -> None:
    data = with_lora(transformer(), 2)
    model, plain = load_keras(data), load_keras(transformer())
    assert np.array_equal(model(RECORDS).numpy(), plain(RECORDS).numpy())
    description, _ = describe(data, "t")
    names = {variable.name: variable for variable in description.variables}
    kernels = [name for name in names if name.endswith("/kernel")]
    assert len(kernels) == 7
    assert all(names[name].trainable is False for name in kernels)
    assert all(f"{name.removesuffix('kernel')}lora_kernel_{part}" in names for name in kernels for part in "ab")


def test_every_process_starts_from_the_same_adapters() -> None:
    first, second = (describe(with_lora(transformer(), 2), "t") for _ in range(2))
    assert first[0].keras_digest == second[0].keras_digest
    assert first[1] == second[1]
    weights = get_weights(load_keras(with_lora(transformer(), 2)))
    assert weights["attention/query/lora_kernel_a"].std() > 0.01
    assert not weights["attention/query/lora_kernel_b"].any()


def test_a_pattern_chooses_the_layers() -> None:
    names = get_weights(load_keras(with_lora(transformer(), 2, "*/query")))
    assert [name for name in names if "lora_" in name] == [f"attention/query/lora_kernel_{part}" for part in "ab"]


def test_the_merged_model_predicts_like_the_one_with_adapters() -> None:
    data = with_lora(transformer(), 4)
    model = load_keras(data)
    moved(model)
    plain = load_keras(without_adapters(data))
    set_weights(plain, merged(model))
    assert not has_adapters(plain)
    assert np.abs(plain(RECORDS).numpy() - model(RECORDS).numpy()).max() <= 1e-6
    assert np.abs(plain(RECORDS).numpy() - load_keras(transformer())(RECORDS).numpy()).max() > 0.01


@pytest.mark.parametrize("layer", ["Dense", "EinsumDense", "Embedding", "Conv1D"])
def test_every_kind_of_layer_is_merged(layer: str) -> None:
    layers = keras().layers
    data = with_lora(
        {
            "Dense": lambda: small(layers.Dense(3, name="x")),
            "EinsumDense": lambda: small(layers.EinsumDense("bi,io->bo", 3, name="x")),
            "Embedding": lambda: small(layers.Embedding(5, 3, name="x"), layers.Flatten()),
            "Conv1D": lambda: small(layers.Reshape((6, 1)), layers.Conv1D(3, 2, name="x"), layers.Flatten()),
        }[layer](),
        2,
    )
    model, plain = load_keras(data), load_keras(without_adapters(data))
    moved(model)
    set_weights(plain, merged(model))
    records = np.random.default_rng(3).integers(0, 5, (7, 6)).astype(np.float32)
    assert np.abs(plain(records).numpy() - model(records).numpy()).max() <= 1e-5


def test_a_model_that_its_owner_gave_adapters_keeps_them_in_its_file() -> None:
    model = load_keras(transformer())
    model.get_layer("wide").enable_lora(3)
    again = load_keras(save_keras(model))
    assert {name for name in get_weights(again) if "lora_" in name} == {"wide/lora_kernel_a", "wide/lora_kernel_b"}
    assert get_weights(again)["wide/lora_kernel_a"].std() > 0.01, "Keras itself saves A as zeros, which learn nothing"


@pytest.mark.parametrize(
    ("rank", "layers", "error", "said"),
    [
        (0, "*", UsageError, "the rank of LoRA adapters is 0, expected 1 to 1,024"),
        (-1, "*", UsageError, "the rank of LoRA adapters is -1, expected 1 to 1,024"),
        (9_999, "*", UsageError, "the rank of LoRA adapters is 9999, expected 1 to 1,024"),
        (2, "decoder/*", ModelError, "'decoder/*' matches no layer that supports LoRA; those of the model are attenti"),
    ],
)
def test_adapters_that_cannot_be_are_refused(rank: int, layers: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        with_lora(transformer(), rank, layers)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_layer_for_adapters_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no layer of model '.*' supports LoRA; Dense, EinsumDense"):
        with_lora(small(keras().layers.BatchNormalization()), 2)


def test_a_model_gets_adapters_once() -> None:
    with pytest.raises(ModelError, match="already has LoRA adapters, such as that of 'attention/"):
        with_lora(with_lora(transformer(), 2), 2)


def test_a_constraint_of_the_kernel_is_named() -> None:
    constrained = small(keras().layers.Dense(3, kernel_constraint="non_neg", name="x"))
    with pytest.raises(ModelError, match="layer 'x' cannot have a LoRA adapter: Lora is incompatible with kernel"):
        with_lora(constrained, 2)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (b"{", f"{ENTRY} in the model file names no adapters"),
        (b'{"rank":0,"layers":["wide"]}', f"{ENTRY} in the model file names no adapters"),
        (b'{"rank":2,"layers":["tall"]}', "the model has no layer 'tall' that supports LoRA"),
    ],
)
def test_a_damaged_entry_is_named(entry: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_keras(write_archive(read_archive(transformer(), "t") | {ENTRY: entry}))


def federation() -> Context:
    context = Context.in_memory()
    add_model(context.store, "t", with_lora(transformer(), 2))
    for number, client in enumerate(("north", "south")):
        part = slice(40 * number, 40 * number + 40)
        send_dataset(context.brokers.at(""), client, client, RECORDS[part], LABELS[part], validation_rate=0.2)
    return context


def test_a_run_of_adapters_sends_little_resumes_verifies_and_publishes_the_merged_model() -> None:
    fields = {"model": "t", "rounds": 2, "epochs": 3}
    context = federation()
    state = run(context, **fields)
    assert digests(run_in_pieces(federation(), **fields)) == digests(state)
    audit = verify_run(state.store, "r", brokers=context.brokers)
    assert audit.ok, audit.problems

    model = state.record.model
    whole = len(state.store.get(f"models/t/initial/{model.keras_digest}.safetensors"))
    sent = objects(state, "/updates/")
    assert len(sent) == 4
    assert all(sum(array.nbytes for array in arrays.values()) * 20 <= whole for arrays in sent.values())
    assert {name for arrays in objects(state, "rounds/").values() for name in arrays if "lora_" not in name} == set()

    version = find_latest(state.store, "t")
    published = load_keras(read_version_file(state.store, version))
    best = state.ledger.commit(version.manifest.round)
    adapted = load_keras(with_lora(transformer(), 2))
    set_weights(adapted, global_weights(context, state, best.round, best.weights_digest))
    assert not has_adapters(published)
    assert np.abs(published(RECORDS).numpy() - adapted(RECORDS).numpy()).max() <= 1e-6
    assert np.abs(published(RECORDS).numpy() - load_keras(transformer())(RECORDS).numpy()).max() > 1e-3


def test_half_precision_trains_adapters_too() -> None:
    state = run(federation(), model="t", rounds=1, mixed_precision=True)
    (initial,), (first,) = (objects(state, f"{number:04d}/global").values() for number in (0, 1))
    assert not np.array_equal(initial["wide/lora_kernel_b"], first["wide/lora_kernel_b"])
