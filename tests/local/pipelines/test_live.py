"""A live run on a real Kafka: two submissions, the first one as the compiled pipeline, on three partitions."""

import pytest
from support.live import announce, grow

from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.record.form_values import packed
from fedstream.record.spec import RunSpec
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.send import create_topic


@pytest.fixture
def values(topic):
    return {
        "run": "r",
        "model": "builtin:numpy-softmax",
        "clients": [f"{topic}-a", f"{topic}-b"],
        "min_clients": 1,
        "rounds": 2,
        "batch_size": 10,
        "indefinite": True,
        "improvement": 0.01,
        "feed": {"kind": "new", "at_least": 20, "at_most": 90, "timeout_s": 3},
    }


def test_submissions_follow_streams_that_grow(platform, platform_env, topic, values, tmp_path):
    brokers = EnvironmentBrokers()
    broker, (one, other) = brokers.at(""), values["clients"]
    create_topic(platform.kafka, one, 3)
    for client in (one, other):
        announce(broker, client)
    grow(broker, one, 150, seed=1)
    grow(broker, other, 60, seed=2)

    assert run_pipeline(packed(RunSpec(**values)), tmp_path / "log") == 1
    store = ObjectStore.from_env()
    commits = Ledger(store, "r").commits()
    assert [commit.kind for commit in commits] == ["initial", "training", "training", "closing"]
    partitions = {r.partition for entry in commits[1].clients if entry.client == one for r in entry.ranges}
    assert partitions == {0, 1, 2}, "each gives a part"
    reasons = {entry.client: entry.reason for entry in commits[2].clients}
    assert reasons == {one: "valid", other: "fewer than 20 new records within 3 s"}

    before = learned(commits, one)
    grow(broker, one, 40, seed=3)
    run_inprocess(values)
    after = learned(Ledger(store, "r").commits(), one)
    assert (len(before), len(after)) == (150, 190)
    assert len(set(after)) == len(after), "each record once"
    report = verify_run(store, "r", brokers=brokers)
    brokers.close()
    assert report.problems == []
    assert report.records_checked >= 190 + 60


def learned(commits, client):
    """Return (partition, offset) of each record that a client's accepted updates were trained on."""
    return [
        (r.partition, offset)
        for commit in commits
        if commit.kind == "training"
        for entry in commit.clients
        if entry.client == client and entry.accepted
        for r in entry.ranges
        for offset in range(r.start, r.end)
    ]
