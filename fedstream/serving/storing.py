"""Store messages about records, each of which names the record that it answers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError, UnknownError

from fedstream.errors import TopicError
from fedstream.stream.client import REQUEST_MS

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.consumer.fetcher import ConsumerRecord
    from kafka.producer.future import FutureRecordMetadata

Message: TypeAlias = "tuple[ConsumerRecord, bytes | None, list[tuple[str, bytes]]]"
"""The record that a message answers, the message's value, and the headers added to those of the record."""


def check_topics(writer: KafkaProducer, topics: Iterable[str], servers: str) -> None:
    """Check that messages can be sent to these topics.

    Raises:
        TopicError: A topic does not exist, and the brokers at `servers` do not create it.
    """
    for topic in topics:
        try:
            writer.partitions_for(topic)
        except KafkaTimeoutError as error:
            raise TopicError(
                f"there is no topic {topic!r} at {servers}, and the broker does not create it "
                "automatically; create it first"
            ) from error


def store(writer: KafkaProducer, topic: str, messages: Iterable[Message]) -> list[ConsumerRecord]:
    """Send messages and wait until they are stored.

    Returns:
        The records whose messages are too large; retrying them would block all others.
    """
    pending: list[tuple[ConsumerRecord, FutureRecordMetadata]] = []
    large: list[ConsumerRecord] = []
    for record, value, headers in messages:
        try:
            pending.append((record, _send(writer, topic, record, value, headers)))
        except MessageSizeTooLargeError:
            large.append(record)
    # kafka-python 3.0 raises this when it splits a batch that was too large; each future has its own result.
    with suppress(UnknownError):
        writer.flush(REQUEST_MS / 1000)
    for record, future in pending:
        try:
            future.get(REQUEST_MS / 1000)
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            large.append(record)
    return large


def _send(
    writer: KafkaProducer,
    topic: str,
    record: ConsumerRecord,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
) -> FutureRecordMetadata:
    passed_on = [(name, said or b"") for name, said in record.headers]
    if value is None and record.key is None:
        value = b""  # kafka-python requires a value or a key
    return writer.send(
        topic,
        value=value,
        key=record.key,
        headers=[*passed_on, *headers, ("fedstream-source", where(record).encode())],
    )


def where(record: ConsumerRecord) -> str:
    """Return the topic, partition and offset of a record, separated by colons."""
    return f"{record.topic}:{record.partition}:{record.offset}"
