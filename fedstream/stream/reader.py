"""Read exactly the announced offsets, all of them and in canonical order, before a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fedstream.errors import BrokerAway, BrokerError, DeadlineError, RecordError
from fedstream.memory_limits import slice_bytes
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.settings import KafkaSettings
from fedstream.stream.bounds import Bounds, check_room, gap, missing, too_late
from fedstream.stream.client import admin, explained, unauthorized
from fedstream.stream.clients import FRESH, Clients
from fedstream.stream.consumers import Consumer, LostOffset, Record
from fedstream.stream.records import Column, RawRecords, RecordSize, extend
from fedstream.stream.unusable import check_any, runs_before, usable_runs

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

__all__ = ["RawRecords", "check_retention", "read_part", "read_ranges", "topic_bounds", "wait_for_data"]

POLL_S = 0.5
"""Time that one poll waits for records, in seconds. The deadline is checked between polls."""

STALL_S = 3.0
"""Time without a record after which to check that the topic still keeps the records, in seconds.

Reading from a deleted topic returns nothing and raises no error.
"""


def topic_bounds(kafka: KafkaSettings, topic: str) -> Bounds:
    """Return partition -> (first offset kept, next offset).

    Raises:
        TopicError: There is no such topic.
        BrokerError: No broker answers, or the broker denies access.
    """
    with admin(kafka) as asked:
        return bounds_of(asked, topic, kafka)


def check_retention(kafka: KafkaSettings, ranges: Sequence[OffsetRange], clients: Clients = FRESH) -> None:
    """Check that the topics still keep the ranges' first offsets.

    Raises:
        RetentionError: The first records of a range are no longer kept. The message names the topic, the partition, the
            announced start and the first offset kept.
        TopicError: A topic or partition no longer exists.
        BrokerError: No broker answers, or the broker denies access.
    """
    with clients.admin(kafka) as asked:
        _missing(asked, ranges, kafka)


def wait_for_data(
    kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float, clients: Clients = FRESH
) -> None:
    """Wait until all announced records are in their topics.

    Until the deadline, a broker that stops answering can come back.

    Raises:
        DeadlineError: Records did not arrive in time. The message says how many arrived.
        RetentionError: The first records of a range are no longer kept.
        TopicError: A topic or partition no longer exists.
        BrokerError: No broker answers at the beginning, or the broker denies access.
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
    skip: int = 0,
    limit: int | None = None,
) -> RawRecords:
    """Read every record of the ranges.

    Offsets that transactions left without a record are listed in the result. Until the deadline, a broker that stops
    answering can come back.

    Args:
        kafka: Connection settings of the brokers.
        ranges: The ranges to read.
        deadline_s: Time limit in seconds.
        size: Size of a record as announced, so that larger records are rejected before they are in memory; None if it
            is unknown.
        clients: Provides the Kafka clients, which are kept open or are opened for this call.
        skip: Maximum number of records that are left out because they have no key or no value, or are larger than
            announced.
        limit: Maximum number of bytes to hold; None for what a step is allowed to hold.

    Raises:
        SliceTooLarge: The records exceed the limit.
        DeadlineError: The records could not all be read in time.
        RetentionError: A record inside a range is missing (because of retention or compaction).
        RecordError: More than `skip` records have no key or no value or are larger than announced, or there is no
            record at all.
        TopicError: A topic or partition no longer exists.
        BrokerError: No broker answers at the beginning, or the broker denies access.
    """
    deadline, limit = time.monotonic() + deadline_s, slice_bytes() if limit is None else limit
    check_room(ranges, size.least * total_records(ranges) if size else 0, limit)
    with clients.admin(kafka) as asked:
        _missing(asked, sorted(ranges), kafka)
        with clients.consumer(kafka, size, cut=skip > 0) as reader:
            records = _records(
                reader, ranges, deadline, size, skip, limit, lambda wanted: _missing(asked, [wanted], kafka)
            )
    check_any(records)
    return records


def read_part(
    kafka: KafkaSettings,
    ranges: Sequence[OffsetRange],
    deadline_s: float,
    size: RecordSize | None = None,
    clients: Clients = FRESH,
    skip: int = 0,
) -> RawRecords:
    """Read a part of a slice, like read_ranges, without asking first whether the topics keep it.

    If it begins where the last part ended, the client already has its first records. There can be no record in it.
    """
    deadline = time.monotonic() + deadline_s
    with clients.consumer(kafka, size, cut=skip > 0) as reader:
        return _records(
            reader,
            ranges,
            deadline,
            size,
            skip,
            slice_bytes(),
            lambda wanted: check_retention(kafka, [wanted], clients),
        )


def _records(
    reader: Consumer,
    ranges: Sequence[OffsetRange],
    deadline: float,
    size: RecordSize | None,
    skip: int,
    limit: int,
    check: Callable[[OffsetRange], object],
) -> RawRecords:
    records = RawRecords([], Column(), Column())
    held, keyless = 0, size is not None and size.keyless
    for wanted in sorted(ranges):
        for batch in _batches(reader, wanted, deadline, check, records.gaps):
            for run in usable_runs(batch, wanted, size, records.skipped, skip) if skip else [batch]:
                held += records.append(
                    wanted,
                    run[0].offset,
                    [(record.key or b"") if keyless else record.key for record in run],
                    [record.value for record in run],
                )
            check_room(ranges, held, limit)
    return records


def _batches(
    reader: Consumer,
    wanted: OffsetRange,
    deadline: float,
    check: Callable[[OffsetRange], object],
    gaps: list[OffsetRange],
) -> Iterator[Sequence[Record]]:
    """Yield the records of one range in batches without gaps, and add what transactions left empty to `gaps`."""
    from kafka.errors import UnsupportedCodecError

    from fedstream.stream.limits import OversizedBatch, OversizedPart, missing_codec

    reader.begin(wanted.topic, wanted.partition, wanted.start)
    at, heard, silence = wanted.start, time.monotonic(), ""
    while at < wanted.end:
        now = time.monotonic()
        if now >= deadline:
            raise DeadlineError(
                f"{at - wanted.start} of {wanted.records} records of {wanted} could be read in time{silence}; "
                "give the round a longer deadline"
            )
        try:
            batch = reader.poll(wanted.end - at, min(POLL_S, deadline - now))
            position = at if batch else reader.position()
        except LostOffset as error:
            raise gap(wanted, at) from error
        except OversizedPart as error:
            raise RecordError(
                f"record {wanted.topic}:{wanted.partition}:{at}: {error}; send it again as announced"
            ) from error
        except OversizedBatch as error:
            raise RecordError(f"{wanted.topic}:{wanted.partition}: {error}") from error
        except UnsupportedCodecError as error:
            raise RecordError(f"{wanted.topic}:{wanted.partition}: {missing_codec(error)}") from error
        if batch:
            for run in runs_before(batch, wanted.end):
                _pass(reader, wanted, at, run[0].offset, gaps)
                yield run
                at = run[-1].offset + 1
            heard, silence = time.monotonic(), ""
        elif position > at:
            at = _pass(reader, wanted, at, min(position, wanted.end), gaps)
        elif now - heard > STALL_S:
            heard, silence = now, _ask_again(check, wanted)


def _ask_again(check: Callable[[OffsetRange], object], wanted: OffsetRange) -> str:
    """Raise an error if the topic or its records are lost; return the error of an unavailable broker as text."""
    try:
        check(wanted)
    except BrokerError as error:
        return _may_pass(error)
    return ""


def _pass(reader: Consumer, wanted: OffsetRange, start: int, end: int, gaps: list[OffsetRange]) -> int:
    """Add [start, end) to the gaps and return the end.

    Raises:
        RetentionError: Not all of it was left by transactions.
    """
    if start < end:
        if (lost := reader.first_lost(start, end)) < end:
            raise gap(wanted, lost)
        extend(gaps, OffsetRange(wanted.topic, wanted.partition, start, end), wanted)
    return end


def bounds_of(asked: KafkaAdminClient, topic: str, kafka: KafkaSettings) -> Bounds:
    """Return the bounds of a topic, like topic_bounds, over an open connection."""
    return bounds_of_all(asked, [topic], kafka)[topic]


def bounds_of_all(asked: KafkaAdminClient, topics: Sequence[str], kafka: KafkaSettings) -> dict[str, Bounds]:
    """Return the bounds of each topic, in as many requests as for one."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    with explained(kafka):
        described = {about["name"]: about for about in asked.describe_topics(list(topics))}
        for topic in topics:
            _check_described(topic, described[topic], kafka)
        partitions = [
            TopicPartition(topic, partition["partition_index"])
            for topic in topics
            for partition in described[topic]["partitions"]
        ]
        first, end = (
            asked.list_partition_offsets(dict.fromkeys(partitions, spec), "read_committed")
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
    found: dict[str, Bounds] = {topic: {} for topic in topics}
    for partition in sorted(partitions):
        found[partition.topic][partition.partition] = first[partition].offset, end[partition].offset
    return found


def _check_described(topic: str, described: dict[str, Any], kafka: KafkaSettings) -> None:
    from kafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code

    error = for_code(described["error_code"])
    if error is TopicAuthorizationFailedError:
        raise unauthorized(kafka, repr(topic))
    if not described["partitions"] and not error.errno:
        error = UnknownTopicOrPartitionError
    if error.errno:
        raise error(topic)


def _missing(asked: KafkaAdminClient, ranges: Iterable[OffsetRange], kafka: KafkaSettings) -> int:
    """Return how many announced records are still missing; raise an error if some can never be read."""
    return missing(lambda topic: bounds_of(asked, topic, kafka), ranges, kafka.bootstrap_servers)


def _may_pass(error: BrokerError) -> str:
    """Return the error of an unavailable broker as text; raise any other broker error again."""
    if not isinstance(error, BrokerAway):
        raise error
    return f" ({error})"
