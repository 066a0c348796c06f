"""Read some records of a stream as its announcement describes them, and count what topics still keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fedstream.errors import UsageError
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.settings import KafkaSettings
from fedstream.stream.announced import Announced, read_announced
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.bounds import Bounds
from fedstream.stream.client import admin, explained
from fedstream.stream.codec import get_codec
from fedstream.stream.known_bounds import TOPICS
from fedstream.stream.offers import gather
from fedstream.stream.reader import bounds_of_all, read_ranges
from fedstream.stream.records import Column, RawRecords

READ_S = 60.0
"""Time limit for reading the records, in seconds."""

MOST_TOPICS = 10_000
"""Maximum number of topics whose bounds are asked for, since anyone can announce any number of names."""


@dataclass(frozen=True)
class Sample:
    """Some records of a stream.

    Attributes:
        said: The announcement that describes them.
        ranges: All offsets that the client offers of the stream.
        kept: Number of these records that their topics still keep.
        records: The records that were read, the first ones that are kept.
        x: Their samples, shape (n, ...).
        y: Their labels, shape (n, ...).
    """

    said: DataAnnouncement
    ranges: list[OffsetRange]
    kept: int
    records: RawRecords
    x: NDArray[Any]
    y: NDArray[Any]


def read_sample(kafka: KafkaSettings, client: str, topic: str, most: int) -> Sample:
    """Read the first records that count of a client's announcements.

    Args:
        kafka: Settings of the brokers.
        client: Name of the client.
        topic: Only the announcements of this topic; empty for all.
        most: Maximum number of records.

    Raises:
        UsageError: The client has announced no such stream.
        AnnouncementError: Its format is not known.
        RecordError: A record is not as announced; the message names its topic, partition and offset.
        BrokerError: No broker answers, or the broker denies access.
    """
    own = [
        one.said
        for one in read_announced(kafka)
        if one.said and one.said.client == client and (not topic or topic in one.said.topics)
    ]
    offer = gather(own)
    if offer.newest is None:
        stream = f"topic {topic!r} for " if topic else ""
        raise UsageError(
            f"no announcement of {stream}client {client!r} counts; `fedstream stream list` shows what there is, and why"
        )
    bounds = existing_bounds(kafka, sorted({r.topic for r in offer.ranges} | offer.newest.topics))
    ranges = offer.ranges or all_of(bounds)
    there, codec = still_kept(bounds, ranges), get_codec(offer.newest.format)
    wanted = first_of(there, most)
    records = read_ranges(kafka, wanted, READ_S, codec.record_size) if wanted else RawRecords([], Column(), Column())
    return Sample(offer.newest, ranges, total_records(there), records, *codec.decode_records(records))


def kept_records(kafka: KafkaSettings, announced: Sequence[Announced]) -> dict[int, int]:
    """Return how many records each announcement that counts still has, by its number in the sequence.

    An online stream has all records of its topic. Topics after the first MOST_TOPICS are left out.

    Raises:
        BrokerError: No broker answers, or the broker denies access.
    """
    counting = {number: one.said for number, one in enumerate(announced) if one.said and one.fate.state == "counts"}
    topics = list(dict.fromkeys(topic for said in counting.values() for topic in sorted(said.topics)))[:MOST_TOPICS]
    bounds, asked = existing_bounds(kafka, topics), set(topics)
    return {
        number: total_records(
            all_of({said.topic: bounds.get(said.topic, {})}) if said.online else still_kept(bounds, said.ranges)
        )
        for number, said in counting.items()
        if said.topics <= asked
    }


def existing_bounds(kafka: KafkaSettings, topics: Sequence[str]) -> dict[str, Bounds]:
    """Return the bounds of those topics that exist and that the broker shows us.

    Raises:
        BrokerError: No broker answers.
    """
    found: dict[str, Bounds] = {}
    with admin(kafka) as asked:
        for first in range(0, len(topics), TOPICS):
            with explained(kafka):
                described = asked.describe_topics(list(topics[first : first + TOPICS]))
            there = [about["name"] for about in described if about["partitions"] and not about["error_code"]]
            found |= bounds_of_all(asked, there, kafka) if there else {}
    return found


def all_of(bounds: Mapping[str, Bounds]) -> list[OffsetRange]:
    """Return all offsets that topics keep."""
    return [
        OffsetRange(topic, partition, first, end)
        for topic, partitions in sorted(bounds.items())
        for partition, (first, end) in sorted(partitions.items())
        if first < end
    ]


def still_kept(bounds: Mapping[str, Bounds], ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """Return the offsets of ranges that topics keep; compaction can have removed records between them."""
    found = []
    for wanted in ranges:
        first, end = bounds.get(wanted.topic, {}).get(wanted.partition, (0, 0))
        if (start := max(wanted.start, first)) < (stop := min(wanted.end, end)):
            found.append(OffsetRange(wanted.topic, wanted.partition, start, stop))
    return found


def first_of(ranges: Sequence[OffsetRange], most: int) -> list[OffsetRange]:
    """Return the first offsets of ranges, at most `most`."""
    found, left = [], most
    for one in sorted(ranges):
        if left <= 0:
            break
        found.append(OffsetRange(one.topic, one.partition, one.start, min(one.end, one.start + left)))
        left -= found[-1].records
    return found
