"""Streams in the memory of this process.

Topics have one partition. Lost and missing records raise the same errors as on a Kafka cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fedstream.errors import DeadlineError, RecordError, TopicError
from fedstream.memory_limits import slice_bytes
from fedstream.record.offsets import OffsetRange, total_records, unite
from fedstream.stream.announcement import MESSAGE_BYTES
from fedstream.stream.bounds import Bounds, check_room, missing, too_late
from fedstream.stream.records import Column, RawRecords, RecordSize

SERVERS = "memory"
"""Address of the default cluster."""


class Topic:
    """A log of (key, value) pairs. Records before offset `first` are no longer kept."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.first = 0

    @property
    def bounds(self) -> Bounds:
        return {0: (self.first, len(self.records))}


class MemoryBroker:
    """A cluster in memory, for use by any number of threads. The first record of a topic creates the topic.

    Args:
        bootstrap_servers: Address of the cluster, for messages and announcements.
    """

    def __init__(self, bootstrap_servers: str = SERVERS) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._topics: dict[str, Topic] = {}
        self._changed = threading.Condition()

    def writer(self) -> MemoryWriter:
        """Return a producer whose records are stored immediately."""
        return MemoryWriter(self)

    def append(self, topic: str, value: bytes, key: bytes) -> int:
        """Append a record and return its offset."""
        with self._changed:
            records = self._topics.setdefault(topic, Topic()).records
            records.append((key, value))
            self._changed.notify_all()
            return len(records) - 1

    def forget(self, topic: str, before: int) -> None:
        """Drop the records before an offset, as a topic's retention does."""
        with self._changed:
            self._topics[topic].first = before

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        with self._changed:
            log = self._topics.get(topic, Topic())
            return [
                (0, offset, value[: MESSAGE_BYTES + 1])
                for offset, (_, value) in enumerate(log.records)
                if offset >= log.first
            ]

    def heard(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        return self.read_announcements(topic, deadline_s)

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._missing(ranges), deadline_s):
                raise too_late(ranges, self._missing(ranges), deadline_s)

    def bounds(self, topic: str) -> Bounds:
        with self._changed:
            return self._bounds(topic)

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        with self._changed:
            self._missing(ranges)

    def read_ranges(
        self,
        ranges: Sequence[OffsetRange],
        deadline_s: float,
        size: RecordSize | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> RawRecords:
        records, limit = RawRecords([], Column(), Column()), slice_bytes() if limit is None else limit
        check_room(ranges, size.least * total_records(ranges) if size else 0, limit)
        with self._changed:
            if self._missing(ranges):
                raise DeadlineError(
                    f"{self._missing(ranges)} of {total_records(ranges)} records are not there yet; "
                    "give the round a longer deadline"
                )
            for wanted in sorted(ranges):
                batch = self._topics[wanted.topic].records[wanted.start : wanted.end]
                _check_sizes(wanted, batch, size)
                records.append(wanted, wanted.start, [key for key, _ in batch], [value for _, value in batch])
        check_room(records.ranges, records.nbytes, limit)
        return records

    def read_part(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None, skip: int = 0
    ) -> RawRecords:
        return self.read_ranges(ranges, deadline_s, size, skip)

    def close(self) -> None:
        """Do nothing: there is no connection to close."""

    def _missing(self, ranges: Sequence[OffsetRange]) -> int:
        return missing(self._bounds, ranges, self.bootstrap_servers)

    def _bounds(self, topic: str) -> Bounds:
        if topic not in self._topics:
            raise TopicError(f"there is no such topic at {self.bootstrap_servers}: {topic!r}")
        return self._topics[topic].bounds


class MemoryWriter:
    """A producer for a cluster in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker, self._written = broker, list[OffsetRange]()

    def write(self, topic: str, value: bytes, key: bytes) -> None:
        offset = self._broker.append(topic, value, key)
        self._written.append(OffsetRange(topic, 0, offset, offset + 1))

    def flush(self) -> list[OffsetRange]:
        self._written = unite(self._written)
        return list(self._written)

    def close(self) -> None:
        """Do nothing: there is no connection to close."""


class MemoryBrokers:
    """Clusters in memory, each created when it is first requested."""

    default_servers = SERVERS

    def __init__(self) -> None:
        self._known: dict[str, MemoryBroker] = {}

    def at(self, bootstrap_servers: str) -> MemoryBroker:
        return self._known.setdefault(bootstrap_servers or SERVERS, MemoryBroker(bootstrap_servers or SERVERS))

    def close(self) -> None:
        """Do nothing: there is no connection to close."""


def _check_sizes(wanted: OffsetRange, batch: Sequence[tuple[bytes, bytes]], size: RecordSize | None) -> None:
    for offset, (key, value) in enumerate(batch, wanted.start):
        for part, most, what in ((value, size.value, "value"), (key, size.key, "key")) if size else ():
            if len(part) > most:
                where = f"{wanted.topic}:{wanted.partition}:{offset}"
                raise RecordError(
                    f"record {where}: its {what} has {len(part):,} bytes, and at most {most:,} are announced; "
                    "send it again as announced"
                )
