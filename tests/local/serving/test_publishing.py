"""What publish leaves for others to serve: a KServe resource, and an entry in a model registry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.data import blobs
from support.registry import FakeRegistry, serving_registry

from fedstream import steps
from fedstream.errors import RegistryError
from fedstream.record.canonical import sha256_hex

FOLDER = "models/builtin-digits-mlp/"


def test_the_resource_names_a_folder_with_a_numbered_saved_model(origin, published, cli, tmp_path) -> None:
    said = cli("model", "pull", "builtin:digits-mlp", "--file", "inference_service.yaml")
    assert (said.code, said.out) == (
        0,
        "wrote inference_service.yaml: version 1 of builtin:digits-mlp, round 1 of run r\n",
    )
    document = yaml.safe_load(Path("inference_service.yaml").read_text())
    bucket, prefix = origin.env["S3_BUCKET"], origin.env["S3_PREFIX"]
    base = document["spec"]["predictor"]["model"]["storageUri"]
    assert base == f"s3://{bucket}/{prefix}{FOLDER}versions/1/saved_model"
    assert document["metadata"]["annotations"]["fedstream/run"] == "r"
    downloaded(published, f"{FOLDER}versions/1/saved_model", tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["1"]
    assert np.array_equal(served(tmp_path / "models/1"), predicted(published, tmp_path))


def downloaded(published, base, folder):
    """Copy as KServe's storage initializer does: what follows the base in each key is the path."""
    for info in published.store.list(base):
        path = folder / info.key.removeprefix(base).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(published.store.get(info.key))


def served(folder):
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    (answer,) = signature(tf.constant(blobs(4, 8)[0])).values()
    return answer.numpy()


def predicted(published, tmp_path):
    import keras

    (tmp_path / "model.keras").write_bytes(published.store.get(f"{FOLDER}versions/1/model.keras"))
    return keras.saving.load_model(tmp_path / "model.keras")(blobs(4, 8)[0]).numpy()


@pytest.fixture
def fake(monkeypatch):
    with serving_registry() as server:
        monkeypatch.setenv("MODEL_REGISTRY_URL", server.settings.url)
        yield server


def test_publish_registers_in_a_fake_registry(published, fake: FakeRegistry) -> None:
    assert steps.publish("r", 1) == 1
    assert steps.publish("r", 1) == 1
    manifest = published.store.get(f"{FOLDER}versions/1/manifest.json")
    (version,), (artifact,) = fake.of("model_version"), fake.of("model_artifact")
    assert version["externalId"] == f"fedstream:{sha256_hex(manifest)}"
    assert version["customProperties"]["weights_digest"]["string_value"] == json.loads(manifest)["weights_digest"]
    assert artifact["uri"].startswith(
        f"s3://{published.env['S3_BUCKET']}/{published.env['S3_PREFIX']}{FOLDER}versions/1/saved_model?endpoint=http%3A"
    )


def test_a_fake_registry_that_is_down_loses_no_version(published, publish_next, fake: FakeRegistry) -> None:
    fake.faults = [(400, b"not now")]
    with pytest.raises(
        RegistryError,
        match=r"HTTP 400: not now; .*The version is published in the store; run publish again to register it",
    ):
        publish_next()
    assert published.store.get_json(f"{FOLDER}latest.json")["version"] == 2
    assert fake.things == []
    assert steps.publish("r", 2) == 2
    assert [thing["name"] for thing in fake.of("model_version")] == ["2"]
