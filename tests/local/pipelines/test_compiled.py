"""`fedstream run`: the compiled pipeline under kfp.local, with a real Kafka and a real store."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import psutil
import pytest
from kafka import KafkaProducer
from support.data import blobs, send_clients

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.catalog.models import ensure_model
from fedstream.settings import StoreSettings
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore
from fedstream.stream.send import send_dataset

ONE_ROUND = 33 + 2 * 18
"""Argo nodes of a round of two clients."""


@pytest.fixture(scope="module")
def streams(platform):
    """Two clients, and an evaluation topic: with it, a round needs no second pass over the clients."""
    evaluation = f"held-{uuid.uuid4().hex[:6]}"
    send_dataset(platform.kafka, evaluation, evaluation, *blobs(9, 30))
    return send_clients(platform.kafka), evaluation


def words(name, clients, *more):
    return [
        "run",
        "--name",
        name,
        "--model",
        "builtin:digits-mlp",
        "--clients",
        ",".join(clients),
        "--batch-size",
        "10",
        "--seed",
        "5",
        "--json",
        "--runner",
        "kfp",
        *more,
    ]


def digests(name):
    return [commit.weights_digest for commit in Ledger(ObjectStore.from_env(), name).commits()]


def test_both_runners_take_turns_at_a_run_and_give_the_digests_of_one(streams, platform_env, cli, home, monkeypatch):
    clients, evaluation = streams
    spec = ["--rounds", "2", "--evaluation-topic", evaluation]
    alone = cli(*words("alone", clients, *spec, "--runner", "inprocess"))
    assert alone.code == 0, alone
    expected = json.loads(alone.out)
    assert (expected["version"], expected["rounds"]) == (1, 2)

    # 1. The compiled pipeline; its node budget holds one round.
    first = cli(*words("turns", clients, *spec, "--node-budget", str(ONE_ROUND), "--log", "first.log"))
    assert first.code == 0, first
    said = json.loads(first.out)
    assert (said["version"], said["rounds"], said["log"]) == (0, 1, "first.log")
    assert said["metrics"]["accuracy"] > 0
    assert first.err.splitlines() == [
        line for line in first.err.splitlines() if line.startswith("round 1 of 2: 2/2 clients, ")
    ]
    log = (home / "first.log").read_text()
    assert (
        f"this submission runs 1 of them, because {ONE_ROUND} nodes are not enough for more; "
        "submit the same run again to continue it" in log
    )
    assert "round 1: global model from 2 updates" in log

    # 2. The next submission goes on, in this process, and is ended before it publishes.
    with monkeypatch.context() as patch:
        patch.setattr(steps.publish, "within", lambda context, run, rounds: 0)
        second = cli(*words("turns", clients, *spec, "--runner", "inprocess"))
    assert second.code == 0, second
    assert json.loads(second.out)["rounds"] == 2

    # 3. The compiled pipeline finds every round done, and publishes.
    third = cli(*words("turns", clients, *spec))
    assert third.code == 0, third
    said = json.loads(third.out)
    assert (said["version"], said["rounds"]) == (2, 2)
    assert {name: said[name] for name in ("round", "metrics", "weights_digest")} == {
        name: expected[name] for name in ("round", "metrics", "weights_digest")
    }
    assert digests("turns") == digests("alone")
    report = verify_run(ObjectStore.from_env(), "turns")
    assert report.ok, report.problems


def test_a_failing_step_tells_its_reason_and_the_log_has_the_rest(streams, platform, platform_env, cli, home, topic):
    x, y = blobs(0, 20)
    send_dataset(platform.kafka, topic, topic, x, y + 9)
    ensure_model(ObjectStore.from_env(), "builtin:digits-mlp")
    said = cli(*words("r", [topic], "--rounds", "1"))
    log = home / "home" / "logs" / "r.log"
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith("error: aggregate: round 1 of run 'r': 0 of 1 updates are accepted and the quorum is 1. ")
    assert "is no class of model 'builtin:digits-mlp'" in line
    assert line.endswith(f"(the full log is in {log})")
    assert "Traceback" in log.read_text()
    assert "ingest-from-kafka" in log.read_text()


def test_a_value_that_a_step_refuses_is_a_wrong_command(streams, platform_env, cli):
    ensure_model(ObjectStore.from_env(), "builtin:digits-mlp")
    said = cli(*words("r", streams[0], "--target-metric", "f1"))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(
        "error: plan_training: target_metric: model 'builtin:digits-mlp' does not report 'f1'; it reports loss, "
        "accuracy (the full log"
    )
    assert len(said.err.splitlines()) == 1


@pytest.fixture
def waiting(platform, platform_env, home, topic):
    """A run whose only client has announced records that never come."""
    codec = {"data_type": "float32", "data_reshape": "8 8", "label_type": "uint8", "label_reshape": "1"}
    said = {"topic": f"{topic}:0:0:50", "input_format": "RAW", "input_config": codec, "client": topic}
    with KafkaProducer(**platform.kafka.client_args()) as producer:
        producer.send(topic, key=b"\0", value=np.zeros((8, 8), np.float32).tobytes()).get(20)
        producer.send("FEDERATED_DATA_CONTROL_TOPIC", key=b"\0", value=json.dumps(said).encode()).get(20)
    ensure_model(ObjectStore.from_env(), "builtin:digits-mlp")
    command = [sys.executable, "-m", "fedstream.cli", *words("r", [topic], "--rounds", "1")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, family_at_work(process)
    finally:
        process.kill()
        process.wait(30)


def family_at_work(process):
    """Wait until the run's client is waiting for its records, and return every process below the command."""
    store = ObjectStore(StoreSettings.from_env())
    for _ in until(60):
        family = psutil.Process(process.pid).children(recursive=True)
        if store.list("runs/r/rounds/0001/selection") and any(
            "ingest_from_kafka" in " ".join(cmdline(child)) for child in family
        ):
            return family
        assert process.poll() is None, process.communicate()
    raise AssertionError("the run did not come to wait for its client")


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def until(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process(waiting, number):
    process, family = waiting
    assert len(family) >= 2
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert out == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err == "interrupted; run the same command again to continue where it stopped\n"
