"""The published model on raw records is the trained model on preprocessed ones, bit for bit in layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.wards import run, ward, wards

from fedstream.catalog.models import add_model
from fedstream.catalog.versions import find_version
from fedstream.model._tensorflow import keras, tensorflow
from fedstream.model.files import load_keras, save_keras
from fedstream.model.keras_learner import open_learner
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.preprocessed import with_preprocessing
from fedstream.preprocessing.transform import Transform, resolve, resolve_fields
from fedstream.record.preprocessing import Preprocessing
from fedstream.record.versions import VersionManifest
from fedstream.record.weights import digest, from_bytes
from fedstream.serving.versions import codec_of, load
from fedstream.steps.preprocessing import transform_of

STEPS = [
    {"step": "standardise", "columns": ["glucose", "age"]},
    {"step": "fill_missing", "columns": [0, 2], "value": -0.25},
    {"step": "scale", "columns": ["age"], "factor": 0.1, "offset": 3},
    {"step": "cast", "columns": ["beds"], "dtype": "uint8"},
    {"step": "cast", "columns": ["smoker"], "dtype": "bool"},
    {"step": "one_hot", "columns": ["ward"], "categories": [0, 1, 7]},
]
NAMES = ["glucose", "ward", "age", "beds", "smoker"]
CONSTANTS = {name: (97.3 / place, 31.7 * place) for place, name in enumerate(NAMES, 1)}


def every_step() -> Transform:
    return resolve(Preprocessing.model_validate({"steps": STEPS}), (5,), NAMES, CONSTANTS)


def raw_records(count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(50, 60, (count, 5)).astype(np.float32)
    x[:, 1], x[:, 4] = rng.integers(0, 8, count), rng.integers(0, 3, count)
    x[rng.random(count) < 0.2, 0] = np.nan
    return x


def small_model(*layers: Any, shape: tuple[int, ...] = (7,)) -> Any:
    model = keras().Sequential([keras().Input(shape), *layers, keras().layers.Dense(2, "softmax")], name="small")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return load_keras(save_keras(model))


def served(files: dict[str, bytes], folder: Path) -> Any:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tensorflow().saved_model.load(str(folder / "saved_model"))


def test_the_layers_compute_what_numpy_computes_bit_for_bit() -> None:
    identity = keras().Sequential([keras().Input((7,)), keras().layers.Activation("linear")])
    identity.compile("sgd", "mse")
    layers = load_keras(save_keras(with_preprocessing(identity, every_step())))
    x = raw_records()
    assert np.array(layers(x)).tobytes() == every_step().samples(x).tobytes()


def test_a_published_model_takes_raw_records(tmp_path: Path) -> None:
    trained, x, transform = small_model(keras().layers.Dense(8, "relu")), raw_records(), every_step()
    weights = get_weights(trained)
    files = open_learner(save_keras(trained)).export(weights, transform)
    published = load_keras(files["model.keras"])
    expected = np.array(trained(transform.samples(x)))
    assert np.array(published(x)).tobytes() == expected.tobytes(), "bit for bit where each operation runs by itself"
    assert digest(get_weights(published)) == digest(weights), "and the weights keep their names"
    assert (published.inputs[0].shape, published.loss) == ((None, 5), "sparse_categorical_crossentropy")
    saved = served(files, tmp_path)
    np.testing.assert_allclose(np.array(saved.serve(x)), expected, rtol=1e-5, atol=1e-7)  # fused kernels


def test_a_model_that_takes_whole_numbers_gets_them() -> None:
    layers = keras().layers
    model = keras().Sequential([keras().Input((1,), dtype="int32"), layers.Embedding(9, 2), layers.Flatten()])
    model.compile("sgd", "mse")
    transform = resolve(Preprocessing.model_validate({"steps": [{"step": "scale", "factor": 0.5}]}), (1,), [])
    published = load_keras(save_keras(with_preprocessing(model, transform)))
    np.testing.assert_array_equal(published(np.array([[8.0]])), model(np.array([[4]])))


def test_named_fields_become_named_inputs() -> None:
    layers = keras().layers
    ward, picture = keras().Input((3,), name="ward"), keras().Input((2, 2), name="picture")
    joined = layers.Concatenate()([ward, layers.Flatten()(picture)])
    model = keras().Model({"ward": ward, "picture": picture}, layers.Dense(2)(joined))
    model.compile("sgd", "mse")
    steps = [
        {"step": "one_hot", "columns": ["ward"], "categories": [0, 1, 2]},
        {"step": "scale", "columns": ["picture"], "factor": 1 / 255},
    ]
    records = np.zeros(4, [("ward", np.int64), ("picture", np.uint8, (2, 2))])
    records["ward"], records["picture"] = [0, 2, 1, 5], 51
    transform = resolve_fields(Preprocessing.model_validate({"steps": steps}), records.dtype)
    before = transform.samples(records)
    expected = np.array(model({name: before[name] for name in ("ward", "picture")}))
    published = load_keras(save_keras(with_preprocessing(model, transform)))
    raw = {name: records[name].astype(np.float32) for name in ("ward", "picture")}
    assert np.array(published(raw)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("steps", [[], [{"step": "scale", "factor": 0.5}]])
def test_pictures_are_scaled_as_a_whole(steps: list[dict[str, Any]]) -> None:
    model = small_model(keras().layers.Flatten(), shape=(4, 4))
    transform = resolve(Preprocessing.model_validate({"steps": steps}), (4, 4), [])
    x = np.random.default_rng(0).integers(0, 255, (3, 4, 4)).astype(np.uint8)
    published = load_keras(open_learner(save_keras(model)).export(get_weights(model), transform)["model.keras"])
    expected = np.array(model(transform.samples(x).astype(np.float32)))
    assert np.array(published(x.astype(np.float32))).tobytes() == expected.tobytes()


def test_a_run_publishes_a_model_that_takes_the_records_of_its_clients() -> None:
    context = wards(clients=("north", "south"), south=18.0)
    data = save_keras(small_model(shape=(5,)))
    add_model(context.store, "wards", data)
    state = run(context, rounds=1)
    published = load_keras(context.store.get("models/wards/versions/1/model.keras"))
    version = state.read(VersionManifest, "models/wards/versions/1/manifest.json")
    weights = from_bytes(context.store.get(f"runs/r/rounds/{version.round:04d}/global.safetensors"), "global")
    trained = load_keras(data)
    set_weights(trained, weights)
    x, _ = ward("south", 18.0)
    expected = np.array(trained(transform_of(state, state.record.client("south")).samples(x)))
    assert np.array(published(x)).tobytes() == expected.tobytes()
    assert digest(get_weights(published)) == version.weights_digest
    found = find_version(context.store, "wards")
    served = load(context.store, found, codec_of(context.store, found))
    np.testing.assert_allclose(served.predict(x), expected, rtol=1e-5, atol=1e-7)
