"""Write records and track exactly which offsets they got. Knows nothing of codecs and announcements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedstream.record.offsets import OffsetRange, unite
from fedstream.settings import KafkaSettings
from fedstream.stream.client import REQUEST_MS, close_producer, explained, open_producer

if TYPE_CHECKING:
    from kafka.producer.future import FutureRecordMetadata

PENDING = 10_000
"""Number of records in flight at which the writer waits for the older half, in order to detect a dead broker early."""

PENDING_BYTES = 64 * 1024 * 1024
"""Bytes in flight at which the writer waits, because kafka-python itself has no limit."""


class Writer(Protocol):
    """Write records and track which offsets they got."""

    def write(self, topic: str, value: bytes, key: bytes) -> None:
        """Send one record without waiting until it is stored."""
        ...

    def flush(self) -> list[OffsetRange]:
        """Wait until every record is stored, and return the offsets of the records, in canonical order."""
        ...

    def close(self) -> None:
        """Close the connection; records that were not flushed can be lost."""
        ...


class RecordWriter:
    """A producer whose records only count when all replicas have stored them.

    Args:
        kafka: Connection settings of the brokers.

    Raises:
        BrokerError: No broker answers, or the broker denies access.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = open_producer(kafka)
        self._pending: list[FutureRecordMetadata] = []
        self._pending_bytes = 0
        self._written: list[OffsetRange] = []

    def write(self, topic: str, value: bytes, key: bytes) -> None:
        """Send one record without waiting until it is stored.

        Raises:
            BrokerError: The broker did not accept this record or an earlier one.
            RecordError: The record is too large.
        """
        with explained(self._kafka):
            self._pending.append(self._producer.send(topic, value=value, key=key))
        self._pending_bytes += len(value) + len(key)
        if len(self._pending) >= PENDING or self._pending_bytes >= PENDING_BYTES:
            self._settle(len(self._pending) // 2)

    def flush(self) -> list[OffsetRange]:
        """Wait until every record is stored, and return the offsets of the records, in canonical order.

        A partition can have several ranges, because other producers can write in between.

        Raises:
            BrokerError: A record was not stored.
        """
        with explained(self._kafka):
            self._producer.flush(REQUEST_MS / 1000)
        self._settle(len(self._pending))
        return list(self._written)

    def close(self) -> None:
        """Close the connection; records that were not flushed can be lost."""
        close_producer(self._producer)

    def _settle(self, count: int) -> None:
        """Collect the offsets of the first records in flight."""
        with explained(self._kafka):
            stored = [future.get(REQUEST_MS / 1000) for future in self._pending[:count]]
        del self._pending[:count]
        self._pending_bytes -= sum(record.serialized_value_size + record.serialized_key_size for record in stored)
        self._written = unite(
            [*self._written, *(OffsetRange(r.topic, r.partition, r.offset, r.offset + 1) for r in stored)]
        )
