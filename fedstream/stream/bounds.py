"""Decide whether announced records can be read: which are kept, which are still missing, and which are lost.

Does not depend on Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fedstream.errors import DeadlineError, RecordError, RetentionError, TopicError
from fedstream.record.offsets import OffsetRange, total_records


class SliceTooLarge(RecordError):
    """Records exceed what a step holds in memory. Where a slice can be streamed, it is."""


Bounds = dict[int, tuple[int, int]]
"""partition -> (first offset kept, next offset)"""


def missing(bounds_of: Callable[[str], Bounds], ranges: Iterable[OffsetRange], servers: str) -> int:
    """Return how many announced records are still missing; raise an error if some can never be read.

    Args:
        bounds_of: Returns the offsets that a topic keeps.
        ranges: The announced ranges.
        servers: Addresses of the brokers, for error messages.

    Raises:
        RetentionError: The first records of a range are no longer kept.
        TopicError: A topic or partition no longer exists.
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
                f"records {wanted.topic}:{wanted.partition}:{wanted.start} to {min(first, wanted.end) - 1} "
                f"are no longer kept (the first one left is {first}); "
                "send the data again, or give the topic a longer retention"
            )
        absent += max(0, wanted.end - max(end, wanted.start))
    return absent


def too_late(ranges: Sequence[OffsetRange], missing: int, deadline_s: float, silence: str = "") -> DeadlineError:
    """Return the error for records that did not arrive in time."""
    total = total_records(ranges)
    return DeadlineError(
        f"{total - missing} of {total} announced records arrived in {round(deadline_s, 1):g} s "
        f"({shown(ranges)}){silence}; send the rest, or give the round a longer deadline"
    )


def gap(wanted: OffsetRange, offset: int) -> RetentionError:
    """Return the error for a missing record inside a range."""
    return RetentionError(
        f"record {wanted.topic}:{wanted.partition}:{offset} of the announced range {wanted} is not in the topic"
        " (retention or compaction removed it); send the data again, to a topic that keeps it"
    )


def check_room(ranges: Sequence[OffsetRange], size: int, limit: int) -> None:
    """Check that a step is allowed to hold this many bytes of records.

    Raises:
        SliceTooLarge: The records exceed the limit.
    """
    if size > limit:
        raise SliceTooLarge(
            f"the {total_records(ranges):,} records of {shown(ranges)} have at least {size:,} bytes, "
            f"and a step holds {limit:,} at most; announce them in parts, "
            "or set FEDSTREAM_SLICE_GIB higher where the steps run, with memory for twice as much"
        )


def shown(ranges: Sequence[OffsetRange]) -> str:
    """Return the first ranges and the number of the remaining ones, for a message."""
    return ", ".join(map(str, ranges[:3])) + (f" and {len(ranges) - 3} more" if len(ranges) > 3 else "")
