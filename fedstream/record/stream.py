"""A client's stream in a live run: where it begins, and which records of it come next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pydantic import Field

from fedstream.errors import AnnouncementError
from fedstream.record.document import Count, Document
from fedstream.record.offsets import OffsetRange, total_records, unite

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""

PARTITIONS = 10_000
"""Maximum number of partitions of a stream on record."""


class Beginning(Document):
    """The first offset of a partition that belongs to a stream."""

    topic: str = Field(max_length=249)
    partition: Count
    offset: Count


class Stream(Document):
    """The partitions that a client's records come from, as known when the run was planned.

    Attributes:
        topics: topics of the client's announcements, sorted.
        online: whether the client announced a topic without offsets, and with it all partitions that the topic will
            ever have; a partition without a beginning then begins at 0.
        beginnings: where each known partition begins, by topic and partition.
    """

    topics: list[str]
    online: bool = False
    beginnings: list[Beginning] = Field(default=[], max_length=PARTITIONS)

    def first(self, place: Place) -> int | None:
        """Return the first offset of a partition; None if it begins with the first record that is announced there."""
        known = {(b.topic, b.partition): b.offset for b in self.beginnings}
        return known.get(place, 0 if self.online else None)


def next_records(
    stream: Stream, used: Sequence[OffsetRange], offered: Sequence[OffsetRange], at_most: int
) -> list[OffsetRange]:
    """Return the records of a stream that follow those that were used, in canonical order.

    Args:
        stream: the stream.
        used: ranges that count as used, in any order.
        offered: ranges that its owner offers and that exist.
        at_most: most records to return. They are divided among the partitions as `shares` says.

    Raises:
        AnnouncementError: the next records of a partition are not offered, but later ones are.
    """
    ends = _ends(used)
    fresh: dict[Place, OffsetRange] = {}
    for r in unite(offered):
        place = (r.topic, r.partition)
        begins = ends.get(place, stream.first(place))
        start = r.start if begins is None else max(r.start, begins)
        if r.topic not in stream.topics or place in fresh or r.end <= start:
            continue
        if begins is not None and start > begins:
            raise AnnouncementError(
                f"records {r.topic}:{r.partition}:{begins} to {start - 1} are not announced, but later ones are, and "
                "a live run leaves none out; announce them too"
            )
        fresh[place] = OffsetRange(r.topic, r.partition, start, r.end)
    taken = shares([r.records for r in fresh.values()], at_most)
    return [
        OffsetRange(r.topic, r.partition, r.start, r.start + records)
        for r, records in zip(fresh.values(), taken, strict=True)
        if records
    ]


def shares(there: Sequence[int], at_most: int) -> list[int]:
    """Divide a number of records among partitions.

    Each partition gives the same number, or all that it has if that is less; what remains of the division comes from
    the first partitions that have more.

    Args:
        there: number of records in each partition, in canonical order.
        at_most: most records to take in all.
    """
    wanted = min(at_most, sum(there))
    left, level = wanted, max(there, default=0)
    for position, records in enumerate(sorted(there)):
        share = left // (len(there) - position)
        if records > share:
            level = share
            break
        left -= records
    taken = [min(records, level) for records in there]
    more = [index for index, records in enumerate(there) if records > level]
    for index in more[: wanted - sum(taken)]:
        taken[index] += 1
    return taken


def why_not_next(
    stream: Stream, used: Sequence[OffsetRange], given: Sequence[OffsetRange], at_least: int, at_most: int
) -> str:
    """Return why these records are not the next ones of a stream, or an empty string.

    Only the stream itself can tell whether there were more.

    Args:
        stream: the stream.
        used: ranges that count as used, in any order.
        given: ranges of a slice.
        at_least: fewest records of a slice.
        at_most: most records of a slice.
    """
    if empty := next((r for r in given if r.records < 1), None):
        return f"its range {empty} is empty"
    if not at_least <= (total := total_records(given)) <= at_most:
        return f"it has {total} records, but a round takes {at_least} to {at_most} new ones"
    ends = _ends(used)
    for r in given:
        place = (r.topic, r.partition)
        if r.topic not in stream.topics:
            return f"its range {r} is not of the client's stream, {', '.join(stream.topics)}"
        begins = ends.get(place, stream.first(place))
        if begins is not None and r.start != begins:
            what = "skips" if r.start > begins else "repeats"
            return f"its range {r} {what} records: the next one of {r.topic}:{r.partition} is {begins}"
        ends[place] = r.end
    return ""


def _ends(used: Sequence[OffsetRange]) -> dict[Place, int]:
    """Return where the used records of each partition end."""
    ends: dict[Place, int] = {}
    for r in used:
        ends[r.topic, r.partition] = max(r.end, ends.get((r.topic, r.partition), 0))
    return ends
