"""A slice that is larger than the memory for it, streamed from a real Kafka."""

from __future__ import annotations

import numpy as np
import pytest

from fedstream import memory_limits
from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.settings import KAFKA_CLIENTS, KafkaSettings
from fedstream.steps.context import Context
from fedstream.store.memory import MemoryStore
from fedstream.stream import blocks, client, consumers
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.send import create_topic, send_dataset

RUN = {"run": "r", "model": "builtin:digits-mlp", "rounds": 1, "epochs": 2, "batch_size": 7}


def test_a_stream_from_kafka_has_the_digests_of_memory(
    kafka: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("confluent_kafka", reason="the extra `confluent` is not installed")
    rng = np.random.default_rng(0)
    create_topic(kafka, topic, 3)
    pictures, labels = rng.integers(0, 17, (400, 8, 8)).astype(np.uint8), rng.integers(0, 10, 400).astype(np.uint8)
    send_dataset(kafka, topic, topic, pictures, labels, validation_rate=0.2)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 9 * 4 * (64 + 1))  # 45 blocks of 9 records
    runs = []
    for library, memory, fetched, polled in (
        (KAFKA_CLIENTS[0], 2**40, client.FETCH_BYTES, 2_000),
        (KAFKA_CLIENTS[0], 8_000, 5_000, 4),
        (KAFKA_CLIENTS[0], 8_000, client.FETCH_BYTES, 2_000),
        (KAFKA_CLIENTS[1], 8_000, client.FETCH_BYTES, 2_000),
    ):
        monkeypatch.setenv("FEDSTREAM_KAFKA_CLIENT", library)
        monkeypatch.setattr(memory_limits, "memory_bytes", lambda memory=memory: memory)
        monkeypatch.setattr(client, "FETCH_BYTES", fetched)
        monkeypatch.setattr(consumers, "BATCH_RECORDS", polled)
        context = Context(MemoryStore(), KafkaBrokers(kafka))
        run_inprocess(RUN | {"clients": [topic]}, context=context)
        state = context.run("r")
        runs.append((state.slice(1, topic), state.ledger.commit(1).weights_digest, state.manifest(1, topic).trained))
        audit = verify_run(context.store, "r", brokers=context.brokers)
        assert audit.ok, audit.problems
    assert runs[1:] == runs[:1] * 3
