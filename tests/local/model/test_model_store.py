"""Models in a real object store, and the `fedstream model` commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.versions import version_manifest
from typer.testing import CliRunner

from fedstream.catalog.additions import Added, additions, current, list_models, record_addition
from fedstream.catalog.models import add_model, ensure_model, read_description
from fedstream.catalog.versions import find_version, list_versions, read_version_file
from fedstream.cli.model import model_app
from fedstream.errors import CorruptObject, ModelError, ObjectConflict, UsageError
from fedstream.model._tensorflow import keras
from fedstream.model.builtin import build_builtin, builtin_names
from fedstream.model.files import load_keras, save_keras
from fedstream.record.canonical import sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.store.objects import ObjectStore


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(model_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def publish(store: ObjectStore, model: str, number: int, data: bytes) -> None:
    keys = ModelKeys(model)
    store.put_new(keys.version(number, "model.keras"), data)
    store.put_new_json(
        keys.version(number, "manifest.json"),
        version_manifest(model=model, version=number, round=number, files={"model.keras": sha256_hex(data)}).model_dump(
            mode="json"
        ),
    )


def test_a_builtin_model_is_added_when_first_asked_for(store: ObjectStore) -> None:
    description = ensure_model(store, "builtin:digits-mlp")
    assert ensure_model(store, "builtin:digits-mlp") == description
    assert read_description(store, "builtin:digits-mlp", description.keras_digest) == description
    assert list_models(store) == ["builtin:digits-mlp"]
    assert current(store, "builtin:digits-mlp") == Added(1, description.keras_digest)
    keys = ModelKeys("builtin:digits-mlp")
    assert sha256_hex(store.get(keys.initial(description.keras_digest))) == description.keras_digest
    assert sha256_hex(store.get(keys.initial(description.keras_digest, "safetensors"))) == description.weights_digest


def test_a_model_on_record_is_described_without_tensorflow(platform_env: dict[str, str]) -> None:
    store = ObjectStore.from_env()
    expected = ensure_model(store, "builtin:digits-mlp")
    code = (
        "import sys\n"
        "from fedstream.catalog.models import ensure_model\n"
        "from fedstream.store.objects import ObjectStore\n"
        "print(ensure_model(ObjectStore.from_env(), 'builtin:digits-mlp').keras_digest, 'tensorflow' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | platform_env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert said.split() == [expected.keras_digest, "False"]


def test_adding_the_same_file_again_changes_nothing(store: ObjectStore) -> None:
    data = save_keras(build_builtin("builtin:digits-mlp"))
    assert add_model(store, "mine", data) == add_model(store, "mine", data)
    assert [added.number for added in additions(store, "mine")] == [1]


def test_an_unknown_model_is_refused_with_those_there_are(store: ObjectStore) -> None:
    add_model(store, "mine", save_keras(build_builtin("builtin:digits-mlp")))
    known = ", ".join([*builtin_names(), "mine"])
    for name in ("nope", "builtin:nope"):
        with pytest.raises(ModelError, match=f"there is no model '{name}'; there are {known}"):
            ensure_model(store, name)


def test_a_damaged_description_is_named(store: ObjectStore) -> None:
    store.put_new(ModelKeys("mine").initial("0" * 64, "json"), b"{}")
    record_addition(store, "mine", "0" * 64)
    with pytest.raises(CorruptObject, match=r"models/mine/initial/0+\.json is no ModelDescription"):
        ensure_model(store, "mine")


def test_versions_are_found_and_checked(store: ObjectStore) -> None:
    with pytest.raises(ModelError, match="'mine' has no version; none is published yet"):
        find_version(store, "mine")
    for number in (1, 2, 10):
        publish(store, "mine", number, b"model %d" % number)
    store.put_new(ModelKeys("mine").version(11, "model.keras"), b"its publisher was killed")
    assert list_versions(store, "mine") == [1, 2, 10]
    assert read_version_file(store, find_version(store, "mine")) == b"model 10"
    assert read_version_file(store, find_version(store, "mine", 2)) == b"model 2"
    with pytest.raises(ModelError, match="has no version 3; published versions: 1, 2, 10"):
        find_version(store, "mine", 3)
    with pytest.raises(ModelError, match=r"has no file 'other'; it has model\.keras"):
        read_version_file(store, find_version(store, "mine"), "other")
    with pytest.raises(ObjectConflict):
        publish(store, "mine", 2, b"another")


def test_a_changed_version_is_not_handed_out(store: ObjectStore) -> None:
    publish(store, "mine", 1, b"model")
    key = ModelKeys("mine").version(1, "model.keras")
    assert store.put_if_match(key, b"mod3l", store.get_with_etag(key)[1])
    with pytest.raises(CorruptObject, match=rf"{key} has SHA-256 .*changed after it was published"):
        read_version_file(store, find_version(store, "mine"))


def test_the_commands_add_list_show_and_pull(
    platform_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = run("add", "examples.model_digits:build", "--name", "mine", "--json")
    assert (added["name"], added["parameters"], added["metrics"]) == ("mine", 4_810, ["accuracy"])
    monkeypatch.chdir(tmp_path)
    store = ObjectStore.from_env()
    data = store.get(ModelKeys("mine").initial(added["keras_digest"]))
    Path("model.keras").write_bytes(data)
    assert run("add", "model.keras", "--name", "mine", "--json")["keras_digest"] == added["keras_digest"]
    assert {row["name"]: row["versions"] for row in run("list", "--json")["models"]}["mine"] == []
    publish(store, "mine", 1, data)
    assert run("show", "mine", "--json")["latest"]["round"] == 1
    assert run("pull", "mine@1", "--json")["file"] == "mine-1.keras"
    assert load_keras("mine-1.keras").name == "digits"
    assert "4,810 weights" in run("show", "mine")
    assert "mine" in run("list")
    assert "wrote out.keras: version 1 of mine" in run("pull", "mine", "-o", "out.keras")


def test_a_model_may_name_its_columns_and_classes(
    platform_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = keras().Sequential([keras().Input((2,)), keras().layers.Dense(1, activation="sigmoid")])
    network.compile("sgd", "binary_crossentropy")
    Path("m.keras").write_bytes(save_keras(network))
    Path("features.json").write_text('["age, in years", "bmi"]')
    words = ["add", "m.keras", "--name", "mine", "--features", "features.json", "--classes"]
    added = run(*words, "benign,malignant", "--json")
    assert (added["features"], added["classes"]) == (["age, in years", "bmi"], ["benign", "malignant"])
    assert "features: age, in years, bmi\n  classes: benign, malignant" in run("show", "mine")
    for wrong, message in (
        ("a,b,c", "3 names are given, but model 'mine' tells 2 apart"),
        ("a,a", "'a' is there twice"),
        ("b,a", "with different names"),
    ):
        with pytest.raises(ModelError, match=message):
            run(*words, wrong)
    with pytest.raises(ModelError, match=r"3 names are given, but model 'other' has input \(2,\); name each value"):
        run("add", "m.keras", "--name", "other", "--features", "a,b,c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "absent.keras", "--name", "mine"], "neither a file nor"),
        (["add", "model.keras", "--name", "no spaces"], "'no spaces' is not a valid model name: use letters"),
        (["add", "model.keras", "--name", "builtin-digits-mlp"], "is the folder of builtin:digits-mlp"),
        (["pull", "mine@0"], "pass NAME, NAME@N with N = 1, 2, ..., or NAME@ALIAS"),
        (["pull", "mine@../1"], "pass NAME, NAME@N with N = 1, 2, ..., or NAME@ALIAS"),
        (["promote", "mine", "champion"], "the version of mine to promote is missing"),
        (["demote", "mine@1"], "does not contain an alias"),
        (["remove", "mine@champion"], "contains an alias; pass the number of the version"),
        (["pull", "a/b"], "is not a valid name"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(
    platform_env: dict[str, str], arguments: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(model_app, arguments, catch_exceptions=False)
