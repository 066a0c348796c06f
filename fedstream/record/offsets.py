"""Parses, formats and counts exact offsets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter

from fedstream.errors import AnnouncementError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Kafka's rule for topic names."""


_RANGE = re.compile(r"([^:]+):([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18})")

RANGES = 1_000
"""Maximum ranges in an announcement. One per partition is usual; concurrent writers to a topic cause more."""

RECORDS = 10**12
"""Maximum records in an announcement: more than a topic keeps, and sums over clients still fit into 64 bits."""

PARTITION = 2**31 - 1
"""The largest partition number in Kafka's protocol."""

ORDER = attrgetter("topic", "partition", "start", "end")
"""The canonical order. OffsetRange has the same order, but compares more slowly."""


@dataclass(frozen=True, order=True)
class OffsetRange:
    """Offsets [start, end) of one partition."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def records(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.start}:{self.end}"


def invalid_topic_name(topic: str) -> str:
    """Return why Kafka does not allow this topic name, or an empty string."""
    if _TOPIC.fullmatch(topic) and topic not in (".", ".."):
        return ""
    return f"{topic!r} is no topic name; use letters, digits, '.', '_' and '-', at most 249"


def parse_ranges(text: str) -> list[OffsetRange]:
    """Parse `topic:partition:start:end[,...]` (Kafka-ML's announcement format) into canonical order.

    The fourth number is the end offset, exclusive.

    Raises:
        AnnouncementError: a part is malformed, is empty or overlaps another, or there are too many ranges or records.
    """
    return list(_parse_ranges(text))


@lru_cache(maxsize=4)  # the ranges of one announcement after another are parsed several times
def _parse_ranges(text: str) -> tuple[OffsetRange, ...]:
    if (count := text.count(",") + 1) > RANGES:
        raise AnnouncementError(
            f"topic: it lists {count:,} ranges of offsets, at most {RANGES:,} are read; announce contiguous records"
        )
    ranges = sorted(map(_parse_range, text.split(",")), key=ORDER)
    for before, after in pairwise(ranges):
        if after.start < before.end and (before.topic, before.partition) == (after.topic, after.partition):
            raise AnnouncementError(f"topic: ranges {before} and {after} overlap; announce each record once")
    if (total := total_records(ranges)) > RECORDS:
        raise AnnouncementError(
            f"topic: it announces {total:,} records, at most {RECORDS:,} fit into a slice; announce them in parts"
        )
    return tuple(ranges)


def _parse_range(part: str) -> OffsetRange:
    fields = _RANGE.fullmatch(part.strip())
    if not fields or invalid_topic_name(fields[1]):
        raise AnnouncementError(f"topic: {part[:300]!r} is not a range of offsets; expected topic:partition:start:end")
    found = OffsetRange(fields[1], int(fields[2]), int(fields[3]), int(fields[4]))
    if found.partition > PARTITION:
        raise AnnouncementError(f"topic: range {part!r} names a partition that no topic can have")
    if found.records < 1:
        raise AnnouncementError(f"topic: range {part!r} is empty; its end must be greater than its start")
    return found


def format_ranges(ranges: Iterable[OffsetRange]) -> str:
    """Return the text that parse_ranges reads."""
    return ",".join(str(r) for r in sorted(ranges, key=ORDER))


def total_records(ranges: Iterable[OffsetRange]) -> int:
    """Return how many records the ranges contain."""
    return sum(r.records for r in ranges)


def unite(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """Return ranges that contain each offset once, in canonical order; adjacent and overlapping ranges are merged."""
    found: list[OffsetRange] = []
    for r in sorted(ranges):
        if found and (found[-1].topic, found[-1].partition) == (r.topic, r.partition) and r.start <= found[-1].end:
            found[-1] = OffsetRange(r.topic, r.partition, found[-1].start, max(found[-1].end, r.end))
        else:
            found.append(r)
    return found
