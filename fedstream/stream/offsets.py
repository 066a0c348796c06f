"""Exact offsets: parse, format, count. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from fedstream.errors import AnnouncementError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Kafka's own rule for topic names."""


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
        AnnouncementError: a part is malformed, empty, or overlaps another.
    """
    ranges = sorted(_parse_range(part) for part in text.split(","))
    for before, after in pairwise(ranges):
        if (before.topic, before.partition) == (after.topic, after.partition) and after.start < before.end:
            raise AnnouncementError(f"topic: ranges {before} and {after} overlap; each record may be announced once")
    return ranges


def _parse_range(part: str) -> OffsetRange:
    fields = part.strip().split(":")
    if len(fields) != 4 or invalid_topic_name(fields[0]) or not all(re.fullmatch(r"[0-9]{1,18}", field) for field in fields[1:]):
        raise AnnouncementError(f"topic: {part!r} is no range of offsets; expected topic:partition:start:end")
    found = OffsetRange(fields[0], *map(int, fields[1:]))
    if found.records < 1:
        raise AnnouncementError(f"topic: range {part!r} is empty; its end must be greater than its start")
    return found


def format_ranges(ranges: Iterable[OffsetRange]) -> str:
    """Return the text that parse_ranges reads."""
    return ",".join(str(r) for r in sorted(ranges))


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
