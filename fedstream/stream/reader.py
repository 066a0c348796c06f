"""Read exactly the announced offsets, all of them, in canonical order, before a deadline; and digest them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from fedstream.errors import BrokerAway, BrokerError, DeadlineError, RecordError, RetentionError, TopicError
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.settings import KafkaSettings, slice_bytes
from fedstream.stream.client import admin, consumer, explained, unauthorized
from fedstream.stream.records import Column, RawRecords, RecordSize

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, KafkaConsumer
    from kafka.consumer.fetcher import ConsumerRecord

__all__ = ["RawRecords", "check_retention", "read_ranges", "topic_bounds", "wait_for_data"]

POLL_S = 0.5
"""Seconds one poll waits for records; the deadline is looked at in between."""

STALL_S = 3.0
"""Seconds without a record after which to ask whether the topic still holds them: a deleted topic is silent, not an error."""

Bounds = dict[int, tuple[int, int]]
"""partition -> (first offset kept, next offset)"""


def topic_bounds(kafka: KafkaSettings, topic: str) -> Bounds:
    """Return partition -> (first offset kept, next offset).

    Raises:
        TopicError: there is no such topic.
        BrokerError: no broker answers, or it refuses us.
    """
    with admin(kafka) as asked:
        return bounds_of(asked, topic, kafka)


def check_retention(kafka: KafkaSettings, ranges: Sequence[OffsetRange]) -> None:
    """Check that the topics still keep the ranges' first offsets.

    Raises:
        RetentionError: names topic, partition, the announced start and the first offset kept.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers, or it refuses us.
    """
    with admin(kafka) as asked:
        _missing(asked, ranges, kafka)


def wait_for_data(kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
    """Wait until all announced records are in the topic; a broker that goes away in the meantime may come back.

    Raises:
        DeadlineError: they are not; says how many are missing.
        RetentionError: the first of them are no longer there.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers at first, or it refuses us.
    """
    deadline = time.monotonic() + deadline_s
    with admin(kafka) as asked:
        missing, silence = _missing(asked, ranges, kafka), ""
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                total = total_records(ranges)
                raise DeadlineError(
                    f"{total - missing} of {total} announced records arrived in {round(deadline_s, 1):g} s ({_shown(ranges)}){silence}; "
                    "send the rest, or give the round a longer deadline"
                )
            time.sleep(min(POLL_S, left))
            try:
                missing, silence = _missing(asked, ranges, kafka), ""
            except BrokerError as error:
                silence = _may_pass(error)


def read_ranges(kafka: KafkaSettings, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None) -> RawRecords:
    """Read every record of the ranges; a broker that goes away in the meantime may come back.

    Args:
        kafka: the brokers.
        ranges: what to read.
        deadline_s: seconds it may take.
        size: bytes of a record as announced, so that larger ones are refused before they are in memory; None where that is not known.

    Raises:
        DeadlineError: not all could be read in time.
        RetentionError: a record inside a range is not there (retention or compaction).
        RecordError: a record has no key or no value, or is larger than announced, or all are more than a step may hold.
        TopicError: a topic or partition is gone.
        BrokerError: no broker answers at first, or it refuses us.
    """
    deadline = time.monotonic() + deadline_s
    records = RawRecords(sorted(ranges), Column(), Column())
    limit, held = slice_bytes(), 0
    _check_room(records.ranges, size.least * total_records(ranges) if size else 0, limit)
    with admin(kafka) as asked:
        _missing(asked, records.ranges, kafka)
        with consumer(kafka, size=size) as reader:
            for wanted in records.ranges:
                for batch in _batches(reader, asked, wanted, deadline, kafka):
                    held += _append(records, wanted, batch, keyless=size is not None and size.keyless)
                    _check_room(records.ranges, held, limit)
    return records


def _check_room(ranges: Sequence[OffsetRange], size: int, limit: int) -> None:
    if size > limit:
        raise RecordError(
            f"the {total_records(ranges):,} records of {_shown(ranges)} have at least {size:,} bytes, and a step holds {limit:,} at most; "
            "announce them in parts, or set FEDSTREAM_SLICE_GIB higher where the steps run, with memory for twice as much"
        )


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
            batch = reader.poll(timeout_ms=int(min(POLL_S, deadline - now) * 1000) + 1).get(partition, [])[: wanted.end - at]
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise _gap(wanted, at) from error
        except OversizedPart as error:
            raise RecordError(f"record {wanted.topic}:{wanted.partition}:{at}: {error}; send it again as announced") from error
        except OversizedBatch as error:
            raise RecordError(f"{wanted.topic}:{wanted.partition}: {error}") from error
        if batch:
            _check_offsets(batch, wanted, at)
            yield batch
            at, heard, silence = at + len(batch), time.monotonic(), ""
        elif reader.position(partition, timeout_ms=int(POLL_S * 1000)) > at:
            raise _gap(wanted, at)
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
        raise _gap(wanted, next(offset for offset in range(at, at + len(batch)) if offset not in found))


def _append(records: RawRecords, wanted: OffsetRange, batch: list[ConsumerRecord], keyless: bool) -> int:
    """Append a batch, and return its bytes; where records may do without a key, an absent one is empty."""
    try:
        records.values.extend([record.value for record in batch])
        records.keys.extend([(record.key or b"") if keyless else record.key for record in batch])
    except TypeError as error:
        wrong = next(record for record in batch if record.value is None or (record.key is None and not keyless))
        what = "value" if wrong.value is None else "key (its label)"
        raise RecordError(f"record {wanted.topic}:{wanted.partition}:{wrong.offset} has no {what}; send it again with both") from error
    return len(records.values.chunks[-1]) + len(records.keys.chunks[-1])


def _gap(wanted: OffsetRange, offset: int) -> RetentionError:
    return RetentionError(
        f"record {wanted.topic}:{wanted.partition}:{offset} of the announced range {wanted} is not in the topic"
        " (retention, compaction, or a transaction's marker); send the data again, to a topic that keeps it"
    )


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
            asked.list_partition_offsets(dict.fromkeys(partitions, spec), "read_committed") for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
    return {partition.partition: (first[partition].offset, end[partition].offset) for partition in sorted(partitions)}


def _missing(asked: KafkaAdminClient, ranges: Iterable[OffsetRange], kafka: KafkaSettings) -> int:
    """Return how many announced records are not there yet; raise if some can never be read."""
    bounds: dict[str, Bounds] = {}
    missing = 0
    for wanted in ranges:
        if wanted.topic not in bounds:
            bounds[wanted.topic] = bounds_of(asked, wanted.topic, kafka)
        if wanted.partition not in bounds[wanted.topic]:
            raise TopicError(f"topic {wanted.topic!r} at {kafka.bootstrap_servers} has no partition {wanted.partition}; it was deleted and made anew")
        first, end = bounds[wanted.topic][wanted.partition]
        if wanted.start < first:
            raise RetentionError(
                f"records {wanted.topic}:{wanted.partition}:{wanted.start} to {min(first, wanted.end) - 1} are no longer kept"
                f" (the first one left is {first}); send the data again, or give the topic a longer retention"
            )
        missing += max(0, wanted.end - max(end, wanted.start))
    return missing


def _may_pass(error: BrokerError) -> str:
    """Return what a broker that is away says; raise again if it is there and refuses us."""
    if not isinstance(error, BrokerAway):
        raise error
    return f" ({error})"


def _shown(ranges: Sequence[OffsetRange]) -> str:
    return ", ".join(map(str, ranges[:3])) + (f" and {len(ranges) - 3} more" if len(ranges) > 3 else "")
