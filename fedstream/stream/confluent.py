"""Read partitions with confluent-kafka, which reads several times as fast as kafka-python: the extra `confluent`.

Only the records come through it. What a topic keeps, and why a broker denies access, is asked through kafka-python, so
errors are the same with both. Its memory is bounded by the sizes of its requests and of its queue, but not by what a
compressed batch inflates to, so it is chosen explicitly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from fedstream.errors import SettingsError, install_hint
from fedstream.settings import KafkaSettings
from fedstream.stream.client import FETCH_BYTES, POLL_BYTES, REQUEST_MS, explained
from fedstream.stream.consumers import POSITION_S, LostOffset, Record, plain_consumer
from fedstream.stream.limits import oversized
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Library
    from confluent_kafka import KafkaError, Message

QUEUE_KIB = 16 * 1024
"""Size of what is fetched ahead, in KiB."""

FETCH_WAIT_MS = 20
"""How long a broker can wait for records that are not there, and the library while its queue is full.

Meanwhile, nothing else is fetched. The library's defaults of 500 and 1,000 ms are longer than a slice takes.
"""

BATCH_RECORDS = 10_000
"""Maximum number of records of one poll."""

MECHANISMS = ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
"""Values of KAFKA_SASL_MECHANISM that need no more than a name and a password."""

_SILENT = logging.getLogger("fedstream.confluent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Received(NamedTuple):
    """A record, as the reader takes it."""

    offset: int
    key: bytes | None
    value: bytes | None


class ConfluentConsumer:
    """A consumer of confluent-kafka.

    Args:
        opened: The library's consumer.
        kafka: Connection settings of the brokers.
        size: Maximum size of a record; None for no limit.
        cut: Whether larger records are returned instead of raising an error.
    """

    def __init__(self, opened: Library, kafka: KafkaSettings, size: RecordSize | None, cut: bool) -> None:
        self._consumer, self._kafka, self._size = opened, kafka, size
        self._partition, self._at = ("", -1), -1
        self._most = max(1, min(BATCH_RECORDS, POLL_BYTES // (size.total or 1))) if size else BATCH_RECORDS
        self._checks = size is not None and not cut
        self._error: Exception | None = None

    def begin(self, topic: str, partition: int, offset: int) -> None:
        from confluent_kafka import TopicPartition

        if ((topic, partition), offset) != (self._partition, self._at):
            self._consumer.assign([TopicPartition(topic, partition, offset)])
        self._partition, self._at = (topic, partition), offset

    def poll(self, most: int, timeout_s: float) -> Sequence[Record]:
        if self._error:
            raise self._error
        messages = self._consumer.consume(min(most, self._most), timeout_s)
        if any(message.error() for message in messages):
            messages = self._without_events(messages)
        records = [Received(message.offset() or 0, message.key(), message.value()) for message in messages]
        if self._checks:
            records = self._bounded(records)
        if records:
            self._at = max(self._at, records[-1].offset + 1)
        return records

    def position(self) -> int:
        return self._at

    def first_lost(self, start: int, end: int) -> int:
        """Return the first lost offset, which kafka-python finds: this library hides why there is no record."""
        with plain_consumer(self._kafka, None) as again:
            again.begin(*self._partition, start)
            since, at = time.monotonic(), start
            while at < end and time.monotonic() - since < REQUEST_MS / 1000:
                records = again.poll(end - at, POSITION_S)
                at = records[-1].offset + 1 if records else again.position()
            return again.first_lost(start, end)

    def _without_events(self, messages: Sequence[Message]) -> list[Message]:
        """Return the records; keep an error for the next poll, so that the records before it count."""
        records: list[Message] = []
        for message in messages:
            if not (event := message.error()):
                records.append(message)
            elif event.code() == event._PARTITION_EOF:  # after a transaction's marker, if the topic ends with it
                self._at = max(self._at, message.offset() or 0)
            elif error := _meant(event, self._partition[0]):
                self._error = error
                break
        if self._error and not records:
            raise self._error
        return records

    def _bounded(self, records: list[Received]) -> list[Received]:
        """Return the records before the first one that is larger than announced; the next poll raises its error."""
        assert self._size is not None
        value, key = self._size.value, self._size.key
        large = (i for i, r in enumerate(records) if len(r.value or b"") > value or len(r.key or b"") > key)
        first = next(large, None)
        if first is None:
            return records
        found = records[first]
        what, part, limit = (
            ("value", found.value, value) if len(found.value or b"") > value else ("key", found.key, key)
        )
        self._error = oversized(what, len(part or b""), limit)
        if not first:
            raise self._error
        return records[:first]


def _meant(event: KafkaError, topic: str) -> Exception | None:
    """Return the error of kafka-python that means the same; None for what passes by itself, such as a lost connection.

    While no record arrives, the reader asks the brokers again, and finds out why.
    """
    from kafka import errors

    return {
        event._AUTO_OFFSET_RESET: LostOffset(event.str()),
        event.OFFSET_OUT_OF_RANGE: LostOffset(event.str()),
        event._UNKNOWN_TOPIC: errors.UnknownTopicOrPartitionError(topic),
        event.UNKNOWN_TOPIC_OR_PART: errors.UnknownTopicOrPartitionError(topic),
        event.TOPIC_AUTHORIZATION_FAILED: errors.TopicAuthorizationFailedError(topic),
        event._BAD_COMPRESSION: errors.CorruptRecordError(event.str()),
        event._BAD_MSG: errors.CorruptRecordError(event.str()),
    }.get(event.code())


def library_settings(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the connection settings by confluent-kafka's names.

    Raises:
        SettingsError: There is no such mechanism here.
    """
    if kafka.sasl_mechanism not in MECHANISMS:
        raise SettingsError(
            f"KAFKA_SASL_MECHANISM is {kafka.sasl_mechanism}, which is read with kafka-python only; "
            "unset FEDSTREAM_KAFKA_CLIENT"
        )
    given = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "ssl.ca.location": kafka.ca_file,
        "ssl.certificate.location": kafka.cert_file,
        "ssl.key.location": kafka.key_file,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.username,
        "sasl.password": kafka.password,
    }
    return {name: value for name, value in given.items() if value}


@contextmanager
def confluent_consumer(kafka: KafkaSettings, size: RecordSize | None, cut: bool) -> Iterator[ConfluentConsumer]:
    """Open a consumer for exact offsets, like `range_consumer`.

    Raises:
        SettingsError: confluent-kafka is not installed, or cannot use the settings.
    """
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise SettingsError(
            f"FEDSTREAM_KAFKA_CLIENT is confluent, but confluent-kafka is not installed; {install_hint('confluent')}"
        ) from error
    try:
        opened = Consumer(
            {
                **library_settings(kafka),
                "group.id": "fedstream",  # which the library demands; it is never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "check.crcs": True,
                "fetch.max.bytes": 4 * FETCH_BYTES,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "fetch.queue.backoff.ms": FETCH_WAIT_MS,
                "max.partition.fetch.bytes": FETCH_BYTES,
                "queued.min.messages": BATCH_RECORDS,
                "queued.max.messages.kbytes": QUEUE_KIB,
                "log_level": 0,
            },
            logger=_SILENT,
        )
    except KafkaException as error:
        raise SettingsError(f"confluent-kafka cannot use these settings: {error.args[0].str()}") from error
    try:
        with explained(kafka):
            yield ConfluentConsumer(opened, kafka, size, cut)
    finally:
        opened.close()
