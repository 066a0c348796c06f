"""Whether announced records can be read: what is kept of a topic, what is not there yet, what never will be. Knows no Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fedstream.errors import DeadlineError, RecordError, RetentionError, TopicError
from fedstream.record.offsets import OffsetRange, total_records

Bounds = dict[int, tuple[int, int]]
"""partition -> (first offset kept, next offset)"""


def missing(bounds_of: Callable[[str], Bounds], ranges: Iterable[OffsetRange], servers: str) -> int:
    """Return how many announced records are not there yet; raise if some can never be read.

    Args:
        bounds_of: what is kept of a topic.
        ranges: what was announced.
        servers: where the topics are, for the message.

    Raises:
        RetentionError: the first of them are no longer there.
        TopicError: a topic or partition is gone.
    """
    bounds: dict[str, Bounds] = {}
    absent = 0
    for wanted in ranges:
        if wanted.topic not in bounds:
            bounds[wanted.topic] = bounds_of(wanted.topic)
        if wanted.partition not in bounds[wanted.topic]:
            raise TopicError(
                f"topic {wanted.topic!r} at {servers} has no partition {wanted.partition}; it was deleted and made anew"
            )
        first, end = bounds[wanted.topic][wanted.partition]
        if wanted.start < first:
            raise RetentionError(
                f"records {wanted.topic}:{wanted.partition}:{wanted.start} to {min(first, wanted.end) - 1} are no longer kept"
                f" (the first one left is {first}); send the data again, or give the topic a longer retention"
            )
        absent += max(0, wanted.end - max(end, wanted.start))
    return absent


def too_late(ranges: Sequence[OffsetRange], missing: int, deadline_s: float, silence: str = "") -> DeadlineError:
    """Return the error for records that did not arrive in time."""
    total = total_records(ranges)
    return DeadlineError(
        f"{total - missing} of {total} announced records arrived in {round(deadline_s, 1):g} s ({shown(ranges)}){silence}; "
        "send the rest, or give the round a longer deadline"
    )


def gap(wanted: OffsetRange, offset: int) -> RetentionError:
    """Return the error for a record inside a range that is not there."""
    return RetentionError(
        f"record {wanted.topic}:{wanted.partition}:{offset} of the announced range {wanted} is not in the topic"
        " (retention, compaction, or a transaction's marker); send the data again, to a topic that keeps it"
    )


def check_room(ranges: Sequence[OffsetRange], size: int, limit: int) -> None:
    """Check that a step may hold so many bytes of records.

    Raises:
        RecordError: it may not.
    """
    if size > limit:
        raise RecordError(
            f"the {total_records(ranges):,} records of {shown(ranges)} have at least {size:,} bytes, and a step holds {limit:,} at most; "
            "announce them in parts, or set FEDSTREAM_SLICE_GIB higher where the steps run, with memory for twice as much"
        )


def shown(ranges: Sequence[OffsetRange]) -> str:
    """Return the first of many ranges, for a message."""
    return ", ".join(map(str, ranges[:3])) + (f" and {len(ranges) - 3} more" if len(ranges) > 3 else "")
