"""Read one partition at a time, with the consumer of a Kafka library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fedstream.settings import KafkaSettings, kafka_client
from fedstream.stream.client import consumer
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from kafka import KafkaConsumer

BATCH_RECORDS = 2_000
"""Maximum number of records of one poll. Larger batches of Python objects leave the processor's cache."""


class LostOffset(Exception):
    """The topic does not keep the offset that was to be read next."""


class Batch(NamedTuple):
    """Records of one poll, in ascending order of their offsets; empty if none arrived.

    Attributes:
        offsets: Offset of each record.
        keys: Key of each record.
        values: Value of each record.
        position: Offset that is read next. Without records, it still moves past a transaction's marker.
    """

    offsets: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    position: int


class Consumer(Protocol):
    """Reads committed records of one partition at a time, from any offset on."""

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Begin at an offset. What was fetched ahead is kept if the last poll ended there."""
        ...

    def poll(self, most: int, timeout_s: float) -> Batch:
        """Return up to `most` records; none if the timeout passes.

        Raises:
            LostOffset: The topic does not keep the offset.
            OversizedPart: The next record is larger than announced.
            OversizedBatch: The next batch inflates to more than may be held.
            KafkaError: The broker denies access, or sends something else than records.
        """
        ...


class PlainConsumer:
    """A consumer of kafka-python."""

    def __init__(self, opened: KafkaConsumer) -> None:
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
        self._partition, self._at = wanted, offset

    def poll(self, most: int, timeout_s: float) -> Batch:
        from kafka.errors import LogTruncationError, OffsetOutOfRangeError

        most = min(most, BATCH_RECORDS, self._consumer.config["max_poll_records"])
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000) + 1, max_records=most)
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise LostOffset from error
        records = polled.get(self._partition, [])
        self._at = (
            records[-1].offset + 1
            if records
            else self._consumer.position(self._partition, timeout_ms=int(timeout_s * 1000)) or self._at
        )
        return Batch(
            [record.offset for record in records],
            [record.key for record in records],
            [record.value for record in records],
            self._at,
        )


@contextmanager
def _plain_consumer(kafka: KafkaSettings, size: RecordSize | None) -> Iterator[Consumer]:
    with consumer(kafka, size=size) as opened:
        yield PlainConsumer(opened)


def range_consumer(kafka: KafkaSettings, size: RecordSize | None) -> AbstractContextManager[Consumer]:
    """Open a consumer for exact offsets, of the library that FEDSTREAM_KAFKA_CLIENT names.

    Args:
        kafka: Connection settings of the brokers.
        size: Maximum size of a record, beyond which polling raises OversizedPart; None for no limit.

    Raises:
        SettingsError: There is no such library, or it is not installed.
    """
    if kafka_client() == "confluent":
        from fedstream.stream.confluent import confluent_consumer

        return confluent_consumer(kafka, size)
    return _plain_consumer(kafka, size)
