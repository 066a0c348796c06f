"""Read exactly the announced offsets, all of them, in canonical order, before a deadline; and digest them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fedstream.errors import DeadlineError, RecordError, RetentionError, TopicError
from fedstream.settings import KafkaSettings
from fedstream.stream.client import consumer
from fedstream.stream.offsets import OffsetRange, total_records

if TYPE_CHECKING:
    from kafka import KafkaConsumer

POLL_MS = 500
"""Milliseconds one poll waits for records; the deadline is looked at in between."""


@dataclass(frozen=True)
class RawRecords:
    """Records in canonical order: topic, partition, offset.

    Attributes:
        ranges: what was read, in canonical order.
        values: each record's value.
        keys: each record's key.
    """

    ranges: list[OffsetRange]
    values: list[bytes]
    keys: list[bytes]

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def partitions(self) -> np.ndarray:
        """Partition of each record, int32 (n,)."""
        return np.repeat(np.array([r.partition for r in self.ranges], dtype=np.int32), [r.records for r in self.ranges])

    @cached_property
    def offsets(self) -> np.ndarray:
        """Offset of each record, int64 (n,)."""
        return np.concatenate([np.arange(r.start, r.end, dtype=np.int64) for r in self.ranges])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of where the records lie and what they hold.

        It is that of: the ranges as `topic:partition:start:end[,...]` and a line feed; the lengths of all keys, then of all values, as little-endian
        int64; all keys; all values. Ranges are exact, so each byte belongs to one record's key or value alone.
        """
        state = hashlib.sha256((",".join(map(str, self.ranges)) + "\n").encode())
        for parts in (self.keys, self.values):
            state.update(np.fromiter(map(len, parts), dtype="<i8", count=len(parts)).tobytes())
        for parts in (self.keys, self.values):
            state.update(b"".join(parts))
        return state.hexdigest()

    def where(self, index: int) -> str:
        """Name a record by topic, partition and offset."""
        for r in self.ranges:
            if index < r.records:
                return f"{r.topic}:{r.partition}:{r.start + index}"
            index -= r.records
        raise IndexError(index)


def topic_bounds(kafka: KafkaSettings, topic: str) -> dict[int, tuple[int, int]]:
    """Return partition -> (first offset kept, next offset).

    Raises:
        TopicError: there is no such topic.
    """
    with consumer(kafka) as reader:
        return _bounds(reader, topic, kafka)


def check_retention(kafka: KafkaSettings, ranges: Sequence[OffsetRange]) -> None:
    """Check that the topics still keep the ranges' first offsets.

    Raises:
        RetentionError: names topic, partition, the announced start and the first offset kept.
        TopicError: a topic or partition is gone.
    """
    with consumer(kafka) as reader:
        _check_bounds(reader, ranges, kafka)


def wait_for_data(kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
    """Wait until all announced records are in the topic.

    Raises:
        DeadlineError: they are not; says how many are missing.
        RetentionError: the first of them are no longer there.
    """
    deadline = time.monotonic() + deadline_s
    with consumer(kafka) as reader:
        while missing := _check_bounds(reader, ranges, kafka):
            if time.monotonic() + POLL_MS / 1000 > deadline:
                raise DeadlineError(
                    f"{total_records(ranges) - missing} of {total_records(ranges)} announced records arrived in {deadline_s:g} s ({', '.join(map(str, ranges))}); "
                    "send the rest, or give the round a longer deadline"
                )
            time.sleep(POLL_MS / 1000)


def read_ranges(kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float) -> RawRecords:
    """Read every record of the ranges.

    Raises:
        DeadlineError: not all could be read in time.
        RetentionError: a record inside a range is not there (retention or compaction).
        RecordError: a record has no key or no value.
    """
    deadline = time.monotonic() + deadline_s
    values: list[bytes] = []
    keys: list[bytes] = []
    with consumer(kafka) as reader:
        _check_bounds(reader, ranges, kafka)
        for wanted in ranges:
            _read_range(reader, wanted, deadline, values, keys)
    return RawRecords(list(ranges), values, keys)


def _read_range(reader: KafkaConsumer, wanted: OffsetRange, deadline: float, values: list[bytes], keys: list[bytes]) -> None:
    from kafka import TopicPartition

    partition = TopicPartition(wanted.topic, wanted.partition)
    reader.assign([partition])
    reader.seek(partition, wanted.start)
    at = wanted.start
    while at < wanted.end:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"{at - wanted.start} of {wanted.records} records of {wanted} could be read in time; give the round a longer deadline")
        batch = reader.poll(timeout_ms=min(POLL_MS, int(left * 1000) + 1)).get(partition, [])[: wanted.end - at]
        if batch:
            _check_batch(batch, wanted, at)
            values += [record.value for record in batch]
            keys += [record.key for record in batch]
            at += len(batch)
        elif reader.position(partition) > at:
            raise _gap(wanted, at)


def _check_batch(batch: list, wanted: OffsetRange, at: int) -> None:  # type: ignore[type-arg]
    if batch[0].offset != at or batch[-1].offset != at + len(batch) - 1:
        found = [record.offset for record in batch]
        raise _gap(wanted, next(offset for offset in range(at, at + len(batch)) if offset not in found))
    for record in batch:
        if record.value is None or record.key is None:
            what = "value" if record.value is None else "key (its label)"
            raise RecordError(f"record {wanted.topic}:{wanted.partition}:{record.offset} has no {what}; send it again with both")


def _gap(wanted: OffsetRange, offset: int) -> RetentionError:
    return RetentionError(
        f"record {wanted.topic}:{wanted.partition}:{offset} of the announced range {wanted} is not in the topic (compaction, or a transaction's marker); send the data again, to a topic without compaction"
    )


def read_announcements(kafka: KafkaSettings, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
    """Return (partition, offset, value) of every message a control topic holds now; nothing if there is no such topic.

    Raises:
        DeadlineError: not all could be read in time.
    """
    from kafka import TopicPartition

    deadline = time.monotonic() + deadline_s
    messages: list[tuple[int, int, bytes]] = []
    with consumer(kafka) as reader:
        try:
            bounds = _bounds(reader, topic, kafka)
        except TopicError:
            return []
        for number, (begin, end) in sorted(bounds.items()):
            partition = TopicPartition(topic, number)
            reader.assign([partition])
            reader.seek(partition, begin)
            while reader.position(partition) < end:
                if time.monotonic() > deadline:
                    raise DeadlineError(f"control topic {topic!r} at {kafka.bootstrap_servers} could not be read in {deadline_s:g} s")
                messages += [(number, record.offset, record.value or b"") for record in reader.poll(timeout_ms=POLL_MS).get(partition, []) if record.offset < end]
    return messages


def _bounds(reader: KafkaConsumer, topic: str, kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    from kafka import TopicPartition

    numbers = reader.partitions_for_topic(topic)
    if not numbers:
        raise TopicError(f"there is no topic {topic!r} at {kafka.bootstrap_servers}; it was deleted, or never written to")
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    first, end = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
    return {partition.partition: (first[partition], end[partition]) for partition in partitions}


def _check_bounds(reader: KafkaConsumer, ranges: Sequence[OffsetRange], kafka: KafkaSettings) -> int:
    """Return how many announced records are not there yet."""
    bounds = {topic: _bounds(reader, topic, kafka) for topic in sorted({r.topic for r in ranges})}
    missing = 0
    for r in ranges:
        if r.partition not in bounds[r.topic]:
            raise TopicError(f"topic {r.topic!r} at {kafka.bootstrap_servers} has no partition {r.partition}; it was deleted and made anew")
        first, end = bounds[r.topic][r.partition]
        if r.start < first:
            raise RetentionError(
                f"records {r.topic}:{r.partition}:{r.start} to {min(first, r.end) - 1} are no longer kept (the first one left is {first}); "
                "send the data again, or give the topic a longer retention"
            )
        missing += max(0, r.end - max(end, r.start))
    return missing
