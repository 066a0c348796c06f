"""Read one partition at a time, with the consumer of a Kafka library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from fedstream.settings import KafkaSettings, kafka_client
from fedstream.stream.client import consumer
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from fedstream.stream.holes import WatchingConsumer

BATCH_RECORDS = 2_000
"""Maximum number of records of one poll. Larger batches of Python objects leave the processor's cache."""

POSITION_S = 0.5
"""Time limit for asking where a consumer is, in seconds."""


class LostOffset(Exception):
    """The topic does not keep the offset that was to be read next."""


class Record(Protocol):
    """A record of a partition."""

    @property
    def offset(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...


class Consumer(Protocol):
    """Reads committed records of one partition at a time, from any offset on."""

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Begin at an offset. What was fetched ahead is kept if the last poll ended there."""
        ...

    def poll(self, most: int, timeout_s: float) -> Sequence[Record]:
        """Return up to `most` records in ascending order of their offsets; none if the timeout passes.

        Raises:
            LostOffset: The topic does not keep the offset.
            OversizedPart: The next record is larger than announced.
            OversizedBatch: The next batch inflates to more than may be held.
            KafkaError: The broker denies access, or sends something else than records.
        """
        ...

    def position(self) -> int:
        """Return the offset that is read next. Without records, it still moves past a transaction's marker.

        Raises:
            LostOffset: The topic does not keep it.
        """
        ...

    def first_lost(self, start: int, end: int) -> int:
        """Return the first offset of [start, end) that no transaction left empty; `end` if there is none."""
        ...


class PlainConsumer:
    """A consumer of kafka-python."""

    def __init__(self, opened: WatchingConsumer) -> None:
        from kafka import TopicPartition

        self._consumer = opened
        self._partition, self._at = TopicPartition("", 0), -1

    def begin(self, topic: str, partition: int, offset: int) -> None:
        from kafka import TopicPartition

        wanted = TopicPartition(topic, partition)
        if wanted != self._partition:
            self._consumer.assign([wanted])
        if wanted != self._partition or offset != self._at:
            self._consumer.seek(wanted, offset)
            self._consumer.passed.clear()
        self._partition, self._at = wanted, offset

    def poll(self, most: int, timeout_s: float) -> Sequence[Record]:
        most = min(most, BATCH_RECORDS, self._consumer.config["max_poll_records"])
        with _lost():
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000) + 1, max_records=most)
        records: list[Record] = polled.get(self._partition, [])
        if records:
            self._at = records[-1].offset + 1
        return records

    def position(self) -> int:
        with _lost():
            found = self._consumer.position(self._partition, timeout_ms=int(POSITION_S * 1000))
        self._at = self._at if found is None else found
        return self._at

    def first_lost(self, start: int, end: int) -> int:
        return self._consumer.first_lost(self._partition, start, end)


@contextmanager
def _lost() -> Iterator[None]:
    from kafka.errors import LogTruncationError, OffsetOutOfRangeError

    try:
        yield
    except (OffsetOutOfRangeError, LogTruncationError) as error:
        raise LostOffset from error


@contextmanager
def plain_consumer(kafka: KafkaSettings, size: RecordSize | None, cut: bool = False) -> Iterator[Consumer]:
    """Open a consumer of kafka-python, like `range_consumer`."""
    with consumer(kafka, size=size, cut=cut) as opened:
        yield PlainConsumer(opened)


def range_consumer(
    kafka: KafkaSettings, size: RecordSize | None, cut: bool = False
) -> AbstractContextManager[Consumer]:
    """Open a consumer for exact offsets, of the library that FEDSTREAM_KAFKA_CLIENT names.

    Args:
        kafka: Connection settings of the brokers.
        size: Maximum size of a record, beyond which polling raises OversizedPart; None for no limit.
        cut: Whether larger records are returned, with more bytes than the limit, instead of raising an error.

    Raises:
        SettingsError: There is no such library, or it is not installed.
    """
    if kafka_client() == "confluent":
        from fedstream.stream.confluent import confluent_consumer

        return confluent_consumer(kafka, size, cut)
    return plain_consumer(kafka, size, cut)
