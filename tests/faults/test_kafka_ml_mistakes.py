"""What Kafka-ML's federated module gets wrong and no other test here is named for.

Its numbers are those of the list of its mistakes.
"""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fedstream
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import from_bytes
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.client import admin
from fedstream.stream.control import read_announcements
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import DATA_CONTROL_TOPIC, create_topic, send_dataset
from fedstream.stream.writer import RecordWriter

TREES = {path: ast.parse(path.read_text()) for path in Path(fedstream.__file__).parent.rglob("*.py")}


def test_mistake_1_the_last_client_s_weights_become_the_model(undisturbed):
    """Every global model is the mean of the stored updates, weighted by examples."""
    for commit in undisturbed.commits[1:3]:
        root = f"runs/r/rounds/{commit.round:04d}"
        updates = [
            from_bytes(
                undisturbed.store.get(f"{root}/updates/{entry.client}-{entry.update_digest}.safetensors"), entry.client
            )
            for entry in commit.clients
        ]
        examples = [entry.num_examples for entry in commit.clients]
        assert len(set(examples)) > 1, "the weights matter"
        for name, value in from_bytes(undisturbed.store.get(f"{root}/global.safetensors"), "global").items():
            mean = np.average([update[name].astype(np.float64) for update in updates], axis=0, weights=examples)
            np.testing.assert_allclose(value, mean, rtol=1e-6, atol=1e-7)


def test_mistake_2_a_round_is_one_client_s_message(undisturbed, clients):
    for commit in undisturbed.commits[1:]:
        assert [entry.client for entry in commit.clients if entry.accepted] == clients


def test_mistake_3_the_aggregated_model_is_never_evaluated(undisturbed):
    measured = {commit.measured_round: commit.metrics for commit in undisturbed.commits if commit.metrics}
    assert sorted(measured) == [0, 1, 2], "the initial model, and that of each round"
    assert all({"loss", "accuracy"} <= set(metrics.values) for metrics in measured.values())


def test_mistake_6_a_validation_rate_of_0_loses_the_final_model(place, zygote, spec):
    """Here it stays in the bucket, and verifies; a version that nobody has measured it does not become,
    and publish says what to do.
    """
    assert zygote.run(place.env, {**spec, "rounds": 1, "validation_rate": 0}) == {"signal": 0, "version": 0}, (
        zygote.tail()
    )
    final = place.store.get("runs/r/rounds/0001/global.safetensors")
    assert sha256_hex(final) == place.commits[-1].weights_digest == place.commits[1].weights_digest
    assert (
        "round 1 was not measured on any record; in a new run, let clients hold records out (validation_rate above 0"
        in zygote.tail()
    )


def test_mistake_7_a_stream_of_several_partitions_crashes(place, platform, zygote, spec, topic):
    create_topic(platform.kafka, topic, 3)
    rng = np.random.default_rng(2)
    announcement = send_dataset(
        platform.kafka, topic, topic, rng.uniform(0, 16, (30, 8, 8)).astype(np.float32), rng.integers(0, 10, 30)
    )
    assert len({(part.topic, part.partition) for part in announcement.ranges}) > 1
    answer = zygote.run(place.env, {**spec, "clients": [topic], "rounds": 1})
    assert answer == {"signal": 0, "version": 1}, zygote.tail()
    (entry,) = place.commits[1].clients
    assert sum(part.end - part.start for part in entry.ranges) == 30
    assert entry.accepted


@pytest.mark.parametrize("name", ["pickle", "dill", "cloudpickle", "marshal", "shelve"])
def test_mistake_9_weights_travel_as_pickles(name):
    imported = [
        (path, alias)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in [*(part.name for part in node.names), getattr(node, "module", "") or ""]
    ]
    assert [path for path, alias in imported if alias.split(".")[0] == name] == []


def test_mistake_10_strings_of_users_are_run():
    calls = [
        (path, node.func.id)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("eval", "exec", "compile", "__import__")
    ]
    assert calls == []


def test_mistake_15_offsets_are_committed_before_the_data_is_used(undisturbed, platform):
    """A run commits no offset: a slice is offsets in the ledger, to be read again at any time.

    Inference does, once its answers are stored.
    """
    with admin(platform.kafka) as asked:
        groups = [group["group_id"] for group in asked.list_groups() if group["group_id"].startswith("fedstream")]
    assert [group for group in groups if not group.startswith("fedstream-infer.")] == []
    joins = [
        (path, keyword.arg)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "group_id"
    ]
    assert joins == []


def test_mistake_17_replayed_announcements_become_duplicate_jobs(place, platform, zygote, spec, clients):
    """Heard three times more, an announcement is one client with the same records."""
    heard = [
        data
        for _, _, data in read_announcements(platform.kafka, DATA_CONTROL_TOPIC, 30)
        if f'"{clients[0]}"'.encode() in data
    ]
    writer = RecordWriter(platform.kafka)
    for _ in range(3):
        writer.write(DATA_CONTROL_TOPIC, heard[0], UNLABELLED)
    writer.flush()
    writer.close()
    assert zygote.run(place.env, {**spec, "rounds": 1}, "after", r"0001/selection")["signal"] == 9
    record = place.store.get_json("runs/r/spec.json")
    assert [client["client"] for client in record["clients"]] == clients
    said = Counter(row["reason"] for row in record["announcements"] if row["client"] == clients[0])
    assert said == {"takes part": 1, "a newer announcement of this client says the same": 3}
    assert record["clients"][0]["ranges"] == DataAnnouncement.model_validate_json(heard[0]).topic


def test_mistake_19_the_final_model_is_never_sent_to_the_data_owners(undisturbed, platform):
    messages = [data for _, _, data in read_announcements(platform.kafka, "FEDERATED_MODEL_CONTROL_TOPIC", 30)]
    digest = sha256_hex(undisturbed.store.get("models/builtin-digits-mlp/versions/1/model.keras"))
    prefix = undisturbed.store.settings.prefix
    sent = [data for data in messages if prefix.encode() in data]
    assert len(sent) == 1
    assert digest.encode() in sent[0]
    assert f"{prefix}models/builtin-digits-mlp/versions/1/model.keras".encode() in sent[0]
