"""One flipped byte in any object of a run: verify names the object.

Also where the JSON stays valid, and where a digest was changed to fit.
"""

import json
import random
import re
from io import BytesIO

import pytest
from minio import Minio

from fedstream.audit import verify_run
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.weights import from_bytes, to_bytes

NO_PROOF = ("/refusals/", "/added/")
"""What a client says of itself in its own words, and which model new runs start from: no part of a run's proof."""

KINDS = [
    "spec",
    "0000/global",
    "0000/commit",
    "0001/selection",
    "0001/slices",
    "0001/updates/a[^.]*.json",
    "0001/updates/a[^.]*.safetensors",
    "0001/verdicts",
    "0001/global",
    "0001/commit",
    "0003/slices",
    "0003/updates",
    "0003/commit",
    "versions/1/manifest",
    "versions/1/model.keras",
    "versions/1/inference_service.yaml",
    "versions/1/saved_model/1/saved_model.pb",
    "latest.json",
]


@pytest.fixture(scope="module")
def damaged(undisturbed):
    """A copy of a finished run, for damage that is mended again."""
    return undisturbed.copied("runs/", "models/")


@pytest.fixture
def whole(undisturbed, snapshot_of):
    """A finished run in memory."""
    return snapshot_of(undisturbed.store)


def flip(data, position, bit=0):
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def named(store):
    return {problem.key for problem in verify_run(store, "r").problems}


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_flipped_in_the_bucket(damaged, kind):
    store = damaged.store
    key = next(info.key for info in [*store.list("runs/"), *store.list("models/")] if re.search(kind, info.key))
    data = store.get(key)
    overwrite(store.settings, key, flip(data, len(data) // 2))
    try:
        assert key in named(store)
    finally:
        overwrite(store.settings, key, data)
    assert verify_run(store, "r").problems == []


def overwrite(settings, key, data):
    client = Minio(
        settings.endpoint_url.removeprefix("http://"),
        settings.access_key,
        settings.secret_key,
        secure=False,
        region=settings.region,
    )
    client.put_object(settings.bucket, settings.prefix + key, BytesIO(data), len(data))


def test_any_byte_of_any_object(whole):
    rng, wrong = random.Random(1), []
    for key, (data, _) in list(whole.objects.items()):
        if any(part in key for part in NO_PROOF):
            continue
        for position in rng.sample(range(len(data)), min(40, len(data))):
            whole.change(key, flip(data, position, rng.randrange(8)))
            found = named(whole)
            if key not in found or len(found - {key}) > 1:
                wrong.append((key, position, found))
        whole.change(key, data)
    assert not wrong, wrong


def test_a_spec_from_before_a_field_came_is_not_called_forged(whole):
    document = json.loads(whole.get("runs/r/spec.json"))
    del document["spec"]["baseline"]
    whole.change("runs/r/spec.json", canonical_json(document))

    assert not any("canonical" in problem.what for problem in verify_run(whole, "r").problems)


def test_a_missing_object_is_named(whole):
    may_be_absent = (*NO_PROOF, "/opened/", "spec.json", "manifest.json", "latest.json", "/initial/", "0003/commit")
    for key in [key for key in whole.objects if not any(part in key for part in may_be_absent)]:
        kept = whole.objects.pop(key)
        assert key in named(whole), key
        whole.objects[key] = kept


def edited(store, key, edit):
    document = json.loads(store.get(key))
    edit(document)
    store.change(key, canonical_json(document))


def metric(document):
    document["metrics"]["values"]["accuracy"] += 0.0625


def examples(document):
    document["clients"][0]["num_examples"] += 1


def action(document):
    document["decision"]["action"] = "stop"


def reason(document):
    document["decision"]["reason"] = "enough"


def verdict(document):
    document["clients"][1]["accepted"] = False


def offsets(document):
    document["clients"][0]["ranges"][0]["end"] -= 1


def measured_round(document):
    document["measured_round"] += 1


def weights(document):
    document["weights_digest"] = document["parent"]


def parent(document):
    document["parent"] = document["base_digest"]


EDITS = [metric, examples, action, reason, verdict, offsets, measured_round, weights, parent]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_commit_changed_in_canonical_form(whole, number, edit):
    key = f"runs/r/rounds/{number:04d}/commit.json"
    edited(whole, key, edit)
    assert named(whole) == {key}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_the_last_commit_of_a_run_that_is_not_published(whole, edit):
    for key in [key for key in whole.objects if "/versions/" in key or "latest" in key]:
        del whole.objects[key]
    assert named(whole) == set()
    key = "runs/r/rounds/0003/commit.json"
    edited(whole, key, edit)
    assert key in named(whole)


def test_a_selection_of_one_client_only(whole):
    key = "runs/r/rounds/0002/selection.json"
    edited(whole, key, lambda document: document["clients"].pop())
    assert named(whole) == {key}


def test_a_global_model_swapped_with_all_digests_made_to_fit(whole):
    """Whoever may write to the bucket can forge a chain, but not a sum."""
    for key in [key for key in whole.objects if "/versions/" in key or "latest" in key]:
        del whole.objects[key]
    key = "runs/r/rounds/0002/global.safetensors"
    model = from_bytes(whole.get(key), key)
    name = sorted(model)[0]
    model[name] = model[name] + 1
    whole.change(key, to_bytes(model))
    forged = sha256_hex(to_bytes(model))
    edited(whole, "runs/r/rounds/0002/commit.json", lambda document: document.update(weights_digest=forged))
    parent = sha256_hex(whole.get("runs/r/rounds/0002/commit.json"))
    edited(
        whole,
        "runs/r/rounds/0003/commit.json",
        lambda document: document.update(weights_digest=forged, base_digest=forged, parent=parent),
    )
    assert key in named(whole)


def test_a_last_commit_that_is_gone_is_missed_by_what_was_published(whole):
    del whole.objects["runs/r/rounds/0003/commit.json"]
    assert "runs/r/rounds/0002/commit.json" in named(whole)
