from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedstream.errors import ModelError, UsageError
from fedstream.model._tensorflow import configure, keras
from fedstream.model.archive import read_archive, write_archive
from fedstream.model.builtin import KERAS, PREFIX, build_builtin
from fedstream.model.export import to_saved_model
from fedstream.model.files import describe, load_keras, save_keras
from fedstream.model.keras_model import get_weights, set_weights
from fedstream.model.source import load_callable, read_model


def sequential(*layers: Any, shape: tuple[int | None, ...] = (4,), **compile: Any) -> Any:
    model = keras().Sequential([keras().Input(shape), *layers], name="mine")
    usual = {
        "optimizer": keras().optimizers.Adam(0.01, name="adam"),
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    }
    model.compile(**(usual | compile))
    return model


def dense(units: int = 3, **options: Any) -> Any:
    return keras().layers.Dense(units, activation="softmax", **options)


@pytest.mark.parametrize("name", ["builtin:digits-mlp", "builtin:mnist-2nn", "builtin:mnist-cnn"])
def test_builtin_models_are_those_of_the_paper(name: str) -> None:
    parameters = {"builtin:digits-mlp": 8_970, "builtin:mnist-2nn": 199_210, "builtin:mnist-cnn": 1_663_370}
    data = save_keras(build_builtin(name))
    assert data == save_keras(build_builtin(name)), "built twice in one process, it is the same file"
    description, _ = describe(data, name)
    assert description.parameters == parameters[name]
    assert (description.num_classes, description.loss, description.metrics) == (
        10,
        "sparse_categorical_crossentropy",
        ["accuracy"],
    )
    assert description.input_shape == ([8, 8] if "digits" in name else [28, 28])


def test_an_unknown_builtin_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelError, match="builtin:nope.*" + ", ".join([PREFIX + name for name in sorted(KERAS)])):
        build_builtin("builtin:nope")


def test_a_saved_model_has_the_same_bytes_after_any_number_of_loads() -> None:
    layers = keras().layers
    data = save_keras(sequential(dense(8), layers.Dropout(0.5), layers.BatchNormalization(), dense()))
    assert save_keras(load_keras(data)) == data
    assert save_keras(load_keras(save_keras(load_keras(data)))) == data


def test_weights_survive_the_round_trip_by_name() -> None:
    layers = keras().layers
    model = load_keras(
        save_keras(sequential(dense(8, name="first"), layers.BatchNormalization(name="norm"), dense(name="last")))
    )
    weights = get_weights(model)
    assert list(weights) == [
        "first/kernel", "first/bias",
        "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance",
        "last/kernel", "last/bias",
    ]  # fmt: skip
    new = {name: np.full_like(array, i) for i, (name, array) in enumerate(weights.items())}
    set_weights(model, dict(reversed(new.items())))
    again = get_weights(model)
    assert all(np.array_equal(again[name], new[name]) for name in new)
    again["first/bias"] += 1
    assert np.array_equal(get_weights(model)["first/bias"], new["first/bias"]), "weights are copies"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("last/bias"), "'last/bias' is in the model only"),
        (lambda w: w.update(extra=np.zeros(1)), "'extra' is in the weights only"),
        (lambda w: w.update({"last/bias": np.zeros(7)}), r"'last/bias' has shape \(7,\), the model's has \(3,\)"),
    ],
)
def test_weights_of_another_model_are_refused(change: Any, message: str) -> None:
    model = load_keras(save_keras(sequential(dense(name="last"))))
    weights = get_weights(model)
    change(weights)
    with pytest.raises(ModelError, match=message):
        set_weights(model, weights)


def test_random_generators_do_not_travel_and_equal_paths_are_told_apart() -> None:
    layers = keras().layers

    def block(name: str) -> Any:
        return keras().Sequential([keras().Input((4,)), layers.Dense(4, name="dense"), layers.Dropout(0.1)], name=name)

    record = keras().Input((4,))
    model = keras().Model(record, layers.Dense(1, name="head")(block("b")(block("a")(record))))
    model.compile("sgd", "mse")
    names = list(get_weights(load_keras(save_keras(model))))
    assert names == ["dense/kernel", "dense/bias", "dense/kernel#2", "dense/bias#2", "head/kernel", "head/bias"]


def test_an_integer_variable_travels_as_it_is() -> None:
    class Counting(keras().layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            return x

    model = sequential(Counting(name="counting"), dense())
    set_weights(model, get_weights(model) | {"counting/count": np.array(7, np.int32)})
    count = get_weights(model)["counting/count"]
    assert (count.dtype, int(count)) == (np.int32, 7)


def lambda_model() -> bytes:
    return save_keras(sequential(keras().layers.Lambda(lambda x: x + 1), dense()))


def uncompiled_model() -> Any:
    return keras().Sequential([keras().Input((4,)), dense()])


def test_a_lambda_layer_of_keras_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lambda.keras"
    path.write_bytes(lambda_model())
    with pytest.raises(ModelError, match=r"lambda\.keras has a Lambda layer"):
        load_keras(path)


def test_an_uncompiled_model_is_refused_saved_or_not(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not compiled"):
        save_keras(uncompiled_model())
    uncompiled_model().save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"model\.keras is not compiled"):
        load_keras(tmp_path / "model.keras")


def rewrite(data: bytes, entry: str, change: Callable[[bytes], bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as file:
        for name in source.namelist():
            file.writestr(name, change(source.read(name)) if name == entry else source.read(name))
    return target.getvalue()


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model file .*absent\.keras"):
        load_keras(tmp_path / "absent.keras")
    with pytest.raises(ModelError, match="cannot read model file"):
        load_keras(tmp_path)
    whole = save_keras(sequential(dense()))
    with pytest.raises(ModelError, match=r"is not a \.keras file"):
        load_keras(whole[:-200])
    with pytest.raises(ModelError, match="cannot be loaded by Keras"):
        load_keras(
            rewrite(
                whole, "config.json", lambda config: config.replace(b'"class_name":"Dense"', b'"class_name":"Dunce"')
            )
        )
    with pytest.raises(ModelError, match="cannot be loaded by Keras"):
        load_keras(rewrite(whole, "model.weights.h5", lambda weights: weights[: len(weights) // 2]))


def test_models_that_cannot_be_federated_are_refused_with_the_reason() -> None:
    layers = keras().layers
    frozen = dense()
    frozen.trainable = False
    cases = {
        "every dimension but the batch must be fixed": sequential(
            layers.GlobalAveragePooling1D(), dense(), shape=(None, 4)
        ),
        "nothing to train": sequential(frozen),
        "metric 'f1' yields 3 values": sequential(
            dense(), loss="categorical_crossentropy", metrics=[keras().metrics.F1Score(name="f1")]
        ),
        "type bfloat16, which cannot be stored": sequential(dense(dtype="bfloat16")),
    }
    for message, model in cases.items():
        with pytest.raises(ModelError, match=message):
            describe(save_keras(model), "mine")


def test_a_loss_object_is_described_like_its_name() -> None:
    description, _ = describe(
        save_keras(sequential(dense(), loss=keras().losses.SparseCategoricalCrossentropy())), "mine"
    )
    assert (description.loss, description.num_classes) == ("sparse_categorical_crossentropy", 3)
    description, _ = describe(save_keras(sequential(keras().layers.Dense(1), loss="mse", metrics=["mae"])), "mine")
    assert (description.loss, description.num_classes, description.metrics) == ("mse", None, ["mae"])


def test_a_saved_model_serves_the_same_predictions(tmp_path: Path) -> None:
    model = load_keras(save_keras(sequential(dense())))
    for name, data in to_saved_model(model).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    served = keras().layers.TFSMLayer(tmp_path, call_endpoint="serve")
    x = np.eye(4, dtype=np.float32)
    assert np.allclose(np.array(served(x)), np.array(model(x)), atol=1e-6)


def test_a_function_builds_the_same_file_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owners_model.py").write_text(Path("examples/model_digits.py").read_text(encoding="utf-8"))
    (tmp_path / "broken_model.py").write_text("import not_installed_anywhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = read_model("owners_model:build")
    assert read_model("owners_model:build") == data
    assert describe(data, "digits")[0].output_shape == [10]
    for name, message in {
        "owners_model:nothing": "has no function 'nothing'",
        "no_such_module:build": "there is no module 'no_such_module'",
        "owners_model.py": "neither a file nor `package.module:function`",
        "owners model:build": "not of the form",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_model(name)
    with pytest.raises(ModelError, match="'broken_model' cannot be imported: No module named 'not_installed_anywhere'"):
        load_callable("broken_model:build")
    with pytest.raises(ModelError, match=r"getcwd returned str, expected a compiled keras\.Model"):
        read_model("os:getcwd")


def test_another_number_of_threads_in_one_process_is_refused() -> None:
    configure(2, 0)
    with pytest.raises(ModelError, match="already runs with 2 threads in this process, so it cannot train with 3"):
        configure(3, 0)


def test_of_a_model_file_that_was_changed_anywhere_only_a_model_error_comes() -> None:
    """Changed within the files of the archive, whose checksums are right: what Keras and HDF5 make of it."""
    contents = read_archive(save_keras(sequential(dense())), "mine.keras")
    chance, refused = random.Random(0), 0
    for _ in range(60):
        name = chance.choice(sorted(contents))
        damaged = bytearray(contents[name])
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            load_keras(
                write_archive(
                    contents
                    | {name: bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.2 else damaged)}
                )
            )
        except ModelError:
            refused += 1
    assert refused > 10


def test_a_model_file_may_be_compressed() -> None:
    data = save_keras(sequential(dense()))
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in read_archive(data, "mine.keras").items():
            archive.writestr(name, content)
    assert save_keras(load_keras(squeezed.getvalue())) == data
