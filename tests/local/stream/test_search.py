"""Records are found by their key and by their time on a real broker, and every wait and number is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaProducer

from fedstream.errors import DeadlineError, RecordError, TopicError
from fedstream.settings import KafkaSettings
from fedstream.stream import search
from fedstream.stream.search import Wanted, find_records
from fedstream.stream.send import create_topic

NOON = 1769860800000
Write = Callable[..., None]


@pytest.fixture
def write(kafka: KafkaSettings, topic: str) -> Iterator[Write]:
    """Write (key, milliseconds after noon) to one partition of the test's topic."""
    create_topic(kafka, topic, 2)
    with KafkaProducer(**kafka.client_args()) as producer:

        def write(*records: tuple[bytes | None, int], partition: int = 0) -> None:
            for key, after in records:
                producer.send(topic, key=key, value=b"v" * 1000, partition=partition, timestamp_ms=NOON + after)
            producer.flush(20)

        yield write


def test_records_are_found_by_their_key(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write((b"p-1", 0), (b"p-10", 0), (None, 0), (b"p-1", 5), (b"", 6))
    write((b"p-2", 0), (b"p-1", 0), partition=1)
    found = find_records(kafka, topic, None, Wanted(b"p-1"), 20)
    assert (found.offsets, found.looked_at) == ({0: [0, 3], 1: [1]}, 7)
    assert find_records(kafka, topic, 1, Wanted(b"p-1"), 20).offsets == {1: [1]}
    assert find_records(kafka, topic, None, Wanted(b""), 20).offsets == {0: [4], 1: []}
    assert find_records(kafka, topic, None, Wanted(b"p-3"), 20).offsets == {0: [], 1: []}


def test_records_are_found_by_their_time_in_whatever_order(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*((b"k", after) for after in (0, 500, 2000, 999, 1000, -5, 0)))
    assert find_records(kafka, topic, 0, Wanted(None, NOON, NOON + 1000), 20).offsets == {0: [0, 1, 3, 6]}
    found = find_records(kafka, topic, 0, Wanted(None, NOON + 2000, NOON + 2001), 20)
    assert (found.offsets, found.looked_at) == ({0: [2]}, 5)  # Kafka's index of times leads to the first one
    assert find_records(kafka, topic, None, Wanted(None, NOON + 9000, NOON + 9001), 20).looked_at == 0


def test_a_topic_or_partition_that_is_not_there_is_named(kafka: KafkaSettings, topic: str, write: Write) -> None:
    with pytest.raises(TopicError, match=r"there is no such topic at .*: 'test-none'"):
        find_records(kafka, "test-none", None, Wanted(b"k"), 20)
    with pytest.raises(TopicError, match=f"topic '{topic}' at .* has no partition 2"):
        find_records(kafka, topic, 2, Wanted(b"k"), 20)


def test_a_search_ends_at_its_deadline_and_says_how_far_it_came(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write((b"k", 0), (b"k", 0))
    with pytest.raises(DeadlineError) as late:
        find_records(kafka, topic, None, Wanted(b"k"), 0)
    assert f"0 of about 2 records of topic '{topic}' could be looked at in 0 s; name the partition" in str(late.value)


def test_a_key_of_too_many_records_is_refused(
    kafka: KafkaSettings, topic: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FOUND", 2)
    write((b"k", 0), (b"k", 0), (b"k", 0))
    with pytest.raises(RecordError, match=f"more than 2 records of topic '{topic}' fit"):
        find_records(kafka, topic, None, Wanted(b"k"), 20)
