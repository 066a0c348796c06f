"""Write records, and know exactly which offsets they got. Knows no codec and no announcement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedstream.record.offsets import OffsetRange, unite
from fedstream.settings import KafkaSettings
from fedstream.stream.client import REQUEST_MS, close_producer, explained, open_producer

if TYPE_CHECKING:
    from kafka.producer.future import FutureRecordMetadata

PENDING = 10_000
"""Records in flight before the writer waits for the older half: finds a dead broker early."""

PENDING_BYTES = 64 * 1024 * 1024
"""Bytes in flight before it waits: kafka-python has no limit of its own."""


class Writer(Protocol):
    """Writes records, and knows which offsets they got."""

    def write(self, topic: str, value: bytes, key: bytes) -> None:
        """Send one record, without waiting for it."""
        ...

    def flush(self) -> list[OffsetRange]:
        """Wait until every record is stored; return the offsets that they got, in canonical order."""
        ...

    def close(self) -> None:
        """Close the connection; what was not flushed may be lost."""
        ...


class RecordWriter:
    """A producer whose records count only when all replicas have them.

    Args:
        kafka: the brokers.

    Raises:
        BrokerError: no broker answers, or it refuses us.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = open_producer(kafka)
        self._pending: list[FutureRecordMetadata] = []
        self._pending_bytes = 0
        self._written: list[OffsetRange] = []

    def write(self, topic: str, value: bytes, key: bytes) -> None:
        """Send one record, without waiting for it.

        Raises:
            BrokerError: the broker did not take it, or one before it.
            RecordError: it is too large.
        """
        with explained(self._kafka):
            self._pending.append(self._producer.send(topic, value=value, key=key))
        self._pending_bytes += len(value) + len(key)
        if len(self._pending) >= PENDING or self._pending_bytes >= PENDING_BYTES:
            self._settle(len(self._pending) // 2)

    def flush(self) -> list[OffsetRange]:
        """Wait until every record is stored; return the offsets that they got, in canonical order.

        Other producers may have written in between, so a partition can have several ranges.

        Raises:
            BrokerError: a record was not stored.
        """
        with explained(self._kafka):
            self._producer.flush(REQUEST_MS / 1000)
        self._settle(len(self._pending))
        return list(self._written)

    def close(self) -> None:
        """Close the connection; what was not flushed may be lost."""
        close_producer(self._producer)

    def _settle(self, count: int) -> None:
        """Take up the offsets of the first records in flight."""
        with explained(self._kafka):
            stored = [future.get(REQUEST_MS / 1000) for future in self._pending[:count]]
        del self._pending[:count]
        self._pending_bytes -= sum(record.serialized_value_size + record.serialized_key_size for record in stored)
        self._written = unite(
            [*self._written, *(OffsetRange(r.topic, r.partition, r.offset, r.offset + 1) for r in stored)]
        )
