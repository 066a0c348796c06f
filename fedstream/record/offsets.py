"""Exact offsets: parse, format, count. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter

from fedstream.errors import AnnouncementError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Kafka's own rule for topic names."""


_RANGE = re.compile(r"([^:]+):([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18})")

RANGES = 1_000
"""Ranges of one announcement: one a partition is usual, more where others write to the topic at the same time."""

RECORDS = 10**12
"""Records of one announcement: far more than a topic keeps, and few enough that sums over clients fit 64 bits."""

PARTITION = 2**31 - 1
"""The largest partition number that Kafka's protocol can name."""

ORDER = attrgetter("topic", "partition", "start", "end")
"""The canonical order: that of OffsetRange, which is slower to compare."""


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
    """Return why Kafka has no topic of this name, or an empty string."""
    if _TOPIC.fullmatch(topic) and topic not in (".", ".."):
        return ""
    return f"{topic!r} is no topic name; use letters, digits, '.', '_' and '-', at most 249"


def parse_ranges(text: str) -> list[OffsetRange]:
    """Parse `topic:partition:start:end[,...]` (Kafka-ML's announcement format) into canonical order.

    The fourth number is the end offset, exclusive.

    Raises:
        AnnouncementError: a part is malformed, empty, or overlaps another; or they are too many, or hold too many records.
    """
    return list(_parse_ranges(text))


@lru_cache(maxsize=4)  # an announcement's ranges are asked for several times, one announcement after the other
def _parse_ranges(text: str) -> tuple[OffsetRange, ...]:
    if (count := text.count(",") + 1) > RANGES:
        raise AnnouncementError(
            f"topic: it lists {count:,} ranges of offsets, at most {RANGES:,} are read; announce records that lie together"
        )
    ranges = sorted(map(_parse_range, text.split(",")), key=ORDER)
    for before, after in pairwise(ranges):
        if after.start < before.end and (before.topic, before.partition) == (after.topic, after.partition):
            raise AnnouncementError(f"topic: ranges {before} and {after} overlap; each record may be announced once")
    if (total := total_records(ranges)) > RECORDS:
        raise AnnouncementError(
            f"topic: it announces {total:,} records, at most {RECORDS:,} make a slice; announce them in parts"
        )
    return tuple(ranges)


def _parse_range(part: str) -> OffsetRange:
    fields = _RANGE.fullmatch(part.strip())
    if not fields or invalid_topic_name(fields[1]):
        raise AnnouncementError(f"topic: {part[:300]!r} is no range of offsets; expected topic:partition:start:end")
    found = OffsetRange(fields[1], int(fields[2]), int(fields[3]), int(fields[4]))
    if found.partition > PARTITION:
        raise AnnouncementError(f"topic: range {part!r} is of a partition that no topic has")
    if found.records < 1:
        raise AnnouncementError(f"topic: range {part!r} is empty; its end must be greater than its start")
    return found


def format_ranges(ranges: Iterable[OffsetRange]) -> str:
    """Return the text that parse_ranges reads."""
    return ",".join(str(r) for r in sorted(ranges, key=ORDER))


def total_records(ranges: Iterable[OffsetRange]) -> int:
    """Return how many records the ranges hold."""
    return sum(r.records for r in ranges)


def unite(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """Return ranges that hold each offset once: neighbours and overlaps become one range; in canonical order."""
    found: list[OffsetRange] = []
    for r in sorted(ranges):
        if found and (found[-1].topic, found[-1].partition) == (r.topic, r.partition) and r.start <= found[-1].end:
            found[-1] = OffsetRange(r.topic, r.partition, found[-1].start, max(found[-1].end, r.end))
        else:
            found.append(r)
    return found
