"""Read partitions with confluent-kafka, which reads several times as fast as kafka-python: the extra `confluent`.

Only the records come through it. What a topic keeps, and why a broker denies access, is asked through kafka-python, so
errors are the same with both. Its memory is bounded by the sizes of its requests and of its queue, but not by what a
compressed batch inflates to, so it is chosen explicitly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedstream.errors import SettingsError, install_hint
from fedstream.settings import KafkaSettings
from fedstream.stream.client import FETCH_BYTES, POLL_BYTES, explained
from fedstream.stream.consumers import Batch, LostOffset
from fedstream.stream.limits import oversized
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Library
    from confluent_kafka import KafkaError, Message

QUEUE_KIB = 4 * FETCH_BYTES // 1024
"""Size of what is fetched ahead, in KiB."""

BATCH_RECORDS = 10_000
"""Maximum number of records of one poll."""

MECHANISMS = ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
"""Values of KAFKA_SASL_MECHANISM that need no more than a name and a password."""

_SILENT = logging.getLogger("fedstream.confluent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class ConfluentConsumer:
    """A consumer of confluent-kafka.

    Args:
        opened: The library's consumer.
        size: Maximum size of a record; None for no limit.
    """

    def __init__(self, opened: Library, size: RecordSize | None) -> None:
        self._consumer, self._size = opened, size
        self._partition, self._at = ("", -1), -1
        self._most = max(1, min(BATCH_RECORDS, POLL_BYTES // (size.total or 1))) if size else BATCH_RECORDS
        self._error: Exception | None = None

    def begin(self, topic: str, partition: int, offset: int) -> None:
        from confluent_kafka import TopicPartition

        if ((topic, partition), offset) != (self._partition, self._at):
            self._consumer.assign([TopicPartition(topic, partition, offset)])
        self._partition, self._at = (topic, partition), offset

    def poll(self, most: int, timeout_s: float) -> Batch:
        if self._error:
            raise self._error
        messages = self._consumer.consume(min(most, self._most), timeout_s)
        if any(message.error() for message in messages):
            messages = self._without_events(messages)
        offsets: list[Any] = [message.offset() for message in messages]
        keys, values = [message.key() for message in messages], [message.value() for message in messages]
        self._at = max(self._at, offsets[-1] + 1) if offsets else self._at
        batch = Batch(offsets, keys, values, self._at)
        return self._bounded(batch) if self._size else batch

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

    def _bounded(self, batch: Batch) -> Batch:
        """Return the records before the first one that is larger than announced; the next poll raises its error."""
        assert self._size is not None
        found: list[tuple[int, str, int, int]] = []
        for parts, limit, what in ((batch.values, self._size.value, "value"), (batch.keys, self._size.key, "key")):
            sizes = [len(part or b"") for part in parts]
            if max(sizes, default=0) > limit:
                first = next(number for number, size in enumerate(sizes) if size > limit)
                found.append((first, what, sizes[first], limit))
        if not found:
            return batch
        first, what, size, limit = min(found)
        self._error = oversized(what, size, limit)
        if not first:
            raise self._error
        return Batch(batch.offsets[:first], batch.keys[:first], batch.values[:first], batch.offsets[first])


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
def confluent_consumer(kafka: KafkaSettings, size: RecordSize | None) -> Iterator[ConfluentConsumer]:
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
            yield ConfluentConsumer(opened, size)
    finally:
        opened.close()
