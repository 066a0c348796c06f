"""The version that predicts: checked by its digests, for records of one format,
replaced by a newer one that takes the same.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.data import blobs
from support.serving import served

from fedstream.errors import CorruptObject, ModelError
from fedstream.local.inprocess import run_inprocess
from fedstream.record.layout import ModelKeys
from fedstream.stream.send import send_dataset

MODEL = "builtin:digits-mlp"
KEYS = ModelKeys(MODEL)


def test_a_newer_version_that_is_damaged_leaves_the_old_one_in_place(published, kafka, caplog):
    version = served(published, number=None)
    published.store.put_new(KEYS.version(2, "manifest.json"), b"{}")
    _, etag = published.store.get_with_etag(KEYS.latest)
    assert published.store.put_if_match(KEYS.latest, json.dumps({"version": 2, "manifest": "0" * 64}).encode(), etag)
    assert version.current().number == 1
    assert (
        "version 1 of builtin:digits-mlp stays in use: models/builtin-digits-mlp/versions/2/manifest.json has digest"
        in caplog.text
    )


def test_a_newer_version_for_other_records_leaves_the_old_one_in_place(published, kafka, topic, caplog):
    version, (x, y) = served(published, number=None), blobs(0)
    send_dataset(kafka, topic, topic, x.astype(np.int32), y)
    assert run_inprocess(published.spec | {"run": "other", "clients": [topic]}) == 2
    assert version.current().number == 1
    assert (
        "version 2 was trained on records of int32 8 8, but those of this stream are read as float32 8 8" in caplog.text
    )
    assert served(published, number=None).current().number == 2


def test_a_damaged_version_never_predicts(published):
    key = KEYS.version(1, "model.keras")
    data, etag = published.store.get_with_etag(key)
    published.store.put_if_match(key, data[:-1] + bytes([data[-1] ^ 1]), etag)
    with pytest.raises(CorruptObject, match=f"{key} has SHA-256 .* it was changed after it was published"):
        served(published)


def test_weights_that_are_not_those_of_the_manifest_never_predict(published):
    key = KEYS.version(1, "manifest.json")
    data, etag = published.store.get_with_etag(key)
    published.store.put_if_match(key, json.dumps(json.loads(data) | {"weights_digest": "0" * 64}).encode(), etag)
    with pytest.raises(CorruptObject, match=r"has weights [0-9a-f]{64}, but its manifest has 0{64}"):
        served(published)
    with pytest.raises(CorruptObject, match=r"manifest\.json has digest"):
        served(published, number=None)


def test_a_format_that_does_not_fit_the_model_is_refused(published):
    with pytest.raises(
        ModelError,
        match=r"has input shape \(8, 8\), which does not fit records of shape \(64,\); correct --input-config",
    ):
        served(published, config={"data_type": "float32", "data_reshape": "64"})


def rewrite_spec(published, change):
    data, etag = published.store.get_with_etag("runs/r/spec.json")
    spec = json.loads(data)
    change(spec)
    published.store.put_if_match("runs/r/spec.json", json.dumps(spec).encode(), etag)


def test_clients_of_different_formats_leave_the_format_to_be_named(published):
    rewrite_spec(published, lambda spec: spec["clients"][0]["input_config"].update(data_type="uint8"))
    with pytest.raises(
        ModelError, match=r"different formats \(float32 8 8 and uint8 8 8\); set the format of the records to predict"
    ):
        served(published)
