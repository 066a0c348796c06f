"""Read exactly the announced offsets, all of them, in canonical order, before a deadline; and digest them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from fedstream.errors import BrokerAway, BrokerError, DeadlineError, RecordError
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.settings import KafkaSettings, slice_bytes
from fedstream.stream.bounds import Bounds, check_room, gap, missing, too_late
from fedstream.stream.client import admin, explained, unauthorized
from fedstream.stream.clients import FRESH, Clients
from fedstream.stream.records import Column, RawRecords, RecordSize

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, KafkaConsumer
    from kafka.consumer.fetcher import ConsumerRecord

__all__ = ["RawRecords", "check_retention", "read_ranges", "topic_bounds", "wait_for_data"]

POLL_S = 0.5
"""Seconds one poll waits for records; the deadline is looked at in between."""

STALL_S = 3.0
"""Seconds without a record after which to ask whether the topic still holds them: a deleted topic is silent, not an error."""


def topic_bounds(kafka: KafkaSettings, topic: str) -> Bounds:
    """Return partition -> (first offset kept, next offset).

    Raises:
        TopicError: there is no such topic.
        BrokerError: no broker answers, or it refuses us.
    """
    with admin(kafka) as asked:
        return bounds_of(asked, topic, kafka)


def check_retention(kafka: KafkaSettings, ranges: Sequence[OffsetRange], clients: Clients = FRESH) -> None:
    """Check that the topics still keep the ranges' first offsets.

    Raises:
        RetentionError: names topic, partition, the announced start and the first offset kept.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers, or it refuses us.
    """
    with clients.admin(kafka) as asked:
        _missing(asked, ranges, kafka)


def wait_for_data(
    kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float, clients: Clients = FRESH
) -> None:
    """Wait until all announced records are in the topic; a broker that goes away in the meantime may come back.

    Raises:
        DeadlineError: they are not; says how many are missing.
        RetentionError: the first of them are no longer there.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers at first, or it refuses us.
    """
    deadline = time.monotonic() + deadline_s
    with clients.admin(kafka) as asked:
        left_out, silence = _missing(asked, ranges, kafka), ""
        while left_out:
            left = deadline - time.monotonic()
            if left <= 0:
                raise too_late(ranges, left_out, deadline_s, silence)
            time.sleep(min(POLL_S, left))
            try:
                left_out, silence = _missing(asked, ranges, kafka), ""
            except BrokerError as error:
                silence = _may_pass(error)


def read_ranges(
    kafka: KafkaSettings,
    ranges: Sequence[OffsetRange],
    deadline_s: float,
    size: RecordSize | None = None,
    clients: Clients = FRESH,
) -> RawRecords:
    """Read every record of the ranges; a broker that goes away in the meantime may come back.

    Args:
        kafka: the brokers.
        ranges: what to read.
        deadline_s: seconds it may take.
        size: bytes of a record as announced, so that larger ones are refused before they are in memory; None where that is not known.
        clients: how to reach them: with clients that are kept open, or new ones.

    Raises:
        DeadlineError: not all could be read in time.
        RetentionError: a record inside a range is not there (retention or compaction).
        RecordError: a record has no key or no value, or is larger than announced, or all are more than a step may hold.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers at first, or it refuses us.
    """
    deadline = time.monotonic() + deadline_s
    records = RawRecords(sorted(ranges), Column(), Column())
    limit, held, keyless = slice_bytes(), 0, size is not None and size.keyless
    check_room(records.ranges, size.least * total_records(ranges) if size else 0, limit)
    with clients.admin(kafka) as asked:
        _missing(asked, records.ranges, kafka)
        with clients.consumer(kafka, size) as reader:
            for wanted in records.ranges:
                for batch in _batches(reader, asked, wanted, deadline, kafka):
                    held += records.append(
                        wanted,
                        batch[0].offset,
                        [(record.key or b"") if keyless else record.key for record in batch],
                        [record.value for record in batch],
                    )
                    check_room(records.ranges, held, limit)
    return records


def _batches(
    reader: KafkaConsumer, asked: KafkaAdminClient, wanted: OffsetRange, deadline: float, kafka: KafkaSettings
) -> Iterator[list[ConsumerRecord]]:
    """Yield the records of one range, without a gap."""
    from kafka import TopicPartition
    from kafka.errors import LogTruncationError, OffsetOutOfRangeError

    from fedstream.stream.limits import OversizedBatch, OversizedPart

    partition = TopicPartition(wanted.topic, wanted.partition)
    reader.assign([partition])
    reader.seek(partition, wanted.start)
    at, heard, silence = wanted.start, time.monotonic(), ""
    while at < wanted.end:
        now = time.monotonic()
        if now >= deadline:
            raise DeadlineError(
                f"{at - wanted.start} of {wanted.records} records of {wanted} could be read in time{silence}; give the round a longer deadline"
            )
        try:
            batch = reader.poll(timeout_ms=int(min(POLL_S, deadline - now) * 1000) + 1).get(partition, [])[
                : wanted.end - at
            ]
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise gap(wanted, at) from error
        except OversizedPart as error:
            raise RecordError(
                f"record {wanted.topic}:{wanted.partition}:{at}: {error}; send it again as announced"
            ) from error
        except OversizedBatch as error:
            raise RecordError(f"{wanted.topic}:{wanted.partition}: {error}") from error
        if batch:
            _check_offsets(batch, wanted, at)
            yield batch
            at, heard, silence = at + len(batch), time.monotonic(), ""
        elif reader.position(partition, timeout_ms=int(POLL_S * 1000)) > at:
            raise gap(wanted, at)
        elif now - heard > STALL_S:
            heard, silence = now, _ask_again(asked, wanted, kafka)


def _ask_again(asked: KafkaAdminClient, wanted: OffsetRange, kafka: KafkaSettings) -> str:
    """Raise if the topic or its records are gone; return what a broker that does not answer says."""
    try:
        _missing(asked, [wanted], kafka)
    except BrokerError as error:
        return _may_pass(error)
    return ""


def _check_offsets(batch: list[ConsumerRecord], wanted: OffsetRange, at: int) -> None:
    if batch[0].offset != at or batch[-1].offset != at + len(batch) - 1:
        found = {record.offset for record in batch}
        raise gap(wanted, next(offset for offset in range(at, at + len(batch)) if offset not in found))


def bounds_of(asked: KafkaAdminClient, topic: str, kafka: KafkaSettings) -> Bounds:
    """Return the bounds of a topic, as topic_bounds does, over a connection that is open."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec
    from kafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code

    with explained(kafka):
        described = asked.describe_topics([topic])[0]
        error = for_code(described["error_code"])
        if error is TopicAuthorizationFailedError:
            raise unauthorized(kafka, repr(topic))
        if not described["partitions"] and not error.errno:
            error = UnknownTopicOrPartitionError
        if error.errno:
            raise error(topic)
        partitions = [TopicPartition(topic, partition["partition_index"]) for partition in described["partitions"]]
        first, end = (
            asked.list_partition_offsets(dict.fromkeys(partitions, spec), "read_committed")
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
    return {partition.partition: (first[partition].offset, end[partition].offset) for partition in sorted(partitions)}


def _missing(asked: KafkaAdminClient, ranges: Iterable[OffsetRange], kafka: KafkaSettings) -> int:
    """Return how many announced records are not there yet; raise if some can never be read."""
    return missing(lambda topic: bounds_of(asked, topic, kafka), ranges, kafka.bootstrap_servers)


def _may_pass(error: BrokerError) -> str:
    """Return what a broker that is away says; raise again if it is there and refuses us."""
    if not isinstance(error, BrokerAway):
        raise error
    return f" ({error})"
