"""What Kafka-ML's federated module gets wrong, by the numbers of the list of its mistakes.

Those that another test is named for are in ELSEWHERE.
"""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from kafka import TopicPartition

import fedstream
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import from_bytes
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.client import admin
from fedstream.stream.control import read_announcements
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import DATA_CONTROL_TOPIC, create_topic, send_dataset
from fedstream.stream.writer import RecordWriter

TESTS = Path(__file__).parents[1]
ELSEWHERE = {
    4: "unit/steps/test_strategy_runs.py::test_a_run_learns_and_is_verified",
    5: "unit/record/test_decision.py::test_patience_counts_measurements_without_improvement",
    8: "unit/model/test_split.py::test_a_record_stays_on_its_side_when_the_stream_grows",
    11: "local/stream/test_secured_broker.py::test_who_may_read_reads",
    12: "local/cli/test_bad_input.py::test_the_same_holds_for_the_installed_command",
    13: "local/stream/test_reader.py::test_missing_records_are_counted_at_the_deadline",
    14: "faults/test_killed.py::test_a_run_killed_at_every_point_in_turn",
    18: "unit/pipelines/test_wiring.py::test_whole_gpus_slices_and_shares_are_values_of_the_form",
    20: "local/stream/test_withdrawn_streams.py::test_a_round_after_the_withdrawal_goes_on_without_the_client",
    21: "local/stream/test_kafka_ml_scripts.py::test_the_script_of_a_stream_with_unlabelled_records",
}
"""Mistakes 4, 5, 8, ...: the test that fails if it were made here.

4. Only FedAvg exists. 5. No early stop. 8. No shuffle. 11. No TLS, no SASL. 12. Errors exit with 0. 13. Waits without
end. 14. A restart begins at round 0. 18. The overlay for GPUs requests none. 20. A data owner cannot stop anything. 21.
Unlabelled records need a label.
"""

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


def test_mistake_16_nobody_checks_that_the_announced_records_are_still_kept(
    place, platform, zygote, spec, clients, topic
):
    """Retention deletes the first records after the announcement: the client refuses, and the reason names them."""
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 16, (30, 8, 8)).astype(np.float32), rng.integers(0, 10, 30)
    send_dataset(platform.kafka, topic, topic, x, y)
    with admin(platform.kafka) as asked:
        asked.delete_records({TopicPartition(topic, 0): 7})
    asked_for = {"clients": [*clients, topic], "min_clients": 2, "rounds": 1}
    assert zygote.run(place.env, spec | asked_for) == {
        "signal": 0,
        "version": 1,
    }, zygote.tail()
    reasons = {entry.client: entry.reason for entry in place.commits[1].clients if not entry.accepted}
    assert reasons == {
        topic: f"records {topic}:0:0 to 6 are no longer kept (the first one left is 7); "
        "send the data again, or give the topic a longer retention"
    }


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


def test_each_mistake_has_a_test():
    here = {int(name.split("_")[2]) for name in globals() if name.startswith("test_mistake_")}
    assert sorted({*here, *ELSEWHERE}) == list(range(1, 22))
    for named in ELSEWHERE.values():
        path, _, test = named.partition("::")
        defined = {node.name for node in ast.walk(ast.parse((TESTS / path).read_text())) if hasattr(node, "name")}
        assert test in defined, named
