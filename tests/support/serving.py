"""What predicts, and what a topic holds, for tests of streaming inference."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from fedstream.record.format import StreamFormat
from fedstream.serving.versions import ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.stream.reader import topic_bounds


def read_topic(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """Return all records that a topic holds now."""
    reader = KafkaConsumer(**kafka.client_args(), auto_offset_reset="earliest")
    bounds = topic_bounds(kafka, topic)
    reader.assign([TopicPartition(topic, number) for number in bounds])
    wanted, found = sum(end - start for start, end in bounds.values()), []
    while len(found) < wanted:  # pytest's timeout is the deadline
        found += [record for records in reader.poll(timeout_ms=5000).values() for record in records]
    reader.close()
    return found


def served(published, number: int | str | None = 1, config=None, check_every_s=0.0) -> ServedVersion:
    """Return a version of a published model, the one of an alias, or with number None the newest."""
    return ServedVersion(
        published.store, "builtin:digits-mlp", number, StreamFormat("RAW", config) if config else None, check_every_s
    )


def eventually(condition: Callable[[], Any], *running: Future[Any], seconds: float = 60.0) -> None:
    """Wait until a condition holds; what runs meanwhile must not end."""
    end = time.monotonic() + seconds
    while not condition():
        for future in running:
            assert not future.done(), future.result()
        assert time.monotonic() < end
        time.sleep(0.05)
