"""A control topic of a real broker that holds anything at all: the list names what is wrong, and a plan goes on."""

import json
import os
import random

import numpy as np
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from fedstream.cli.stream import stream_app
from fedstream.local.inprocess import NO_BUDGET
from fedstream.settings import KafkaSettings
from fedstream.steps import plan, plan_training
from fedstream.steps.context import Context
from fedstream.store.objects import ObjectStore
from fedstream.stream import announced, announcement, send
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.send import send_dataset

MESSAGES = int(os.environ.get("FEDSTREAM_FUZZ", "300"))


def damaged(rng: random.Random, good: bytes) -> bytes | None:
    """Return a message with some bytes changed, or something else altogether."""
    kind = rng.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return rng.randbytes(rng.randrange(60))
    if kind == 2:
        return b"[" * rng.randrange(3_000)
    found = bytearray(good)
    for _ in range(rng.randrange(1, 6)):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found[: rng.randrange(len(found))] if kind == 3 else found)


@pytest.mark.timeout(600)
def test_a_topic_of_damaged_messages_is_listed_and_planned(
    kafka: KafkaSettings, topic: str, store: ObjectStore, platform_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control = f"{topic}-control"
    for module in (announced, announcement, plan, send):
        monkeypatch.setattr(module, "DATA_CONTROL_TOPIC", control)
    x, y = np.zeros((30, 8, 8), np.uint8), np.arange(30) % 10
    good = send_dataset(kafka, topic, topic, x, y.astype(np.uint8)).to_bytes()
    rng = random.Random(0)
    with KafkaProducer(**kafka.client_args()) as producer:
        for number in range(MESSAGES):
            key = rng.randbytes(number % 5)
            producer.send(control, key=key, value=damaged(rng, good.replace(topic.encode(), b"other")))
    send_dataset(kafka, topic, topic, x, y.astype(np.uint8))
    done = CliRunner().invoke(stream_app, ["list", "--json", "--model", "builtin:numpy-softmax"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) == MESSAGES + 2
    assert [row["state"] for row in rows if row["client"] == topic] == ["superseded", "counts"]
    assert all(row["reason"] for row in rows if row["state"] != "counts")
    context = Context(store, KafkaBrokers(kafka))
    plan_training.within(context, {"run": "r", "model": "builtin:numpy-softmax", "clients": [topic]}, NO_BUDGET)
    assert [client.client for client in context.run("r").record.clients] == [topic]
