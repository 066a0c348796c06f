"""Which records a trace asks for: those at an offset, with a key, or of a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import UsageError
from fedstream.record.offsets import PARTITION, invalid_topic_name
from fedstream.stream.search import Search, Wanted

LARGEST = 10**18
"""The first offset that no announcement can name."""

Offsets = dict[int, NDArray[np.int64]]
"""partition -> offsets, ascending."""

Find = Callable[[str, str, int | None, Wanted], Search]
"""Searches brokers: (address, empty for the default; topic; partition; what to look for)."""


@dataclass(frozen=True)
class Question:
    """The records that are asked for.

    Attributes:
        topic: Topic of the records.
        partition: Their partition; None for all.
        offset: Offset of the one record; None if the records are searched.
        wanted: What identifies the records in a search.
    """

    topic: str
    partition: int | None
    offset: int | None
    wanted: Wanted

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int | None = None,
        offset: int | None = None,
        key: str | bytes | None = None,
        timestamp: str | int | datetime | None = None,
    ) -> Question:
        """Return the question, if exactly one of offset, key and timestamp is given.

        Raises:
            UsageError: The question cannot be asked; the message says why.
        """
        if reason := invalid_topic_name(topic):
            raise UsageError(reason)
        if [offset, key, timestamp].count(None) != 2:
            raise UsageError("name the record by one of offset, key and timestamp")
        if offset is not None and partition is None:
            raise UsageError("an offset is that of a record within a partition; name the partition, such as 0")
        if not 0 <= (partition or 0) <= PARTITION or not 0 <= (offset or 0) < LARGEST:
            raise UsageError(f"no record has partition {partition} and offset {offset}; both begin with 0")
        if timestamp is not None:
            return cls(topic, partition, None, Wanted(None, *parse_time(timestamp)))
        return cls(topic, partition, offset, Wanted(key.encode() if isinstance(key, str) else key))

    def answered(self, addresses: Iterable[str], find: Find) -> tuple[dict[str, Offsets], int]:
        """Return the offsets of the records by the brokers' address, and how many records were looked at.

        An offset needs no search: it is the same wherever the topic is.
        """
        found, looked_at = dict[str, Offsets](), 0
        for address in addresses:
            if self.offset is not None and self.partition is not None:
                found[address] = {self.partition: np.array([self.offset])}
                continue
            search = find(address, self.topic, self.partition, self.wanted)
            found[address] = {number: np.array(offsets, np.int64) for number, offsets in search.offsets.items()}
            looked_at += search.looked_at
        return found, looked_at

    def positions(self, found: Mapping[str, Offsets]) -> list[str]:
        """Return the records as `topic:partition:offset`, in order; the one that is asked for even if nobody has it."""
        if self.offset is not None:
            return [f"{self.topic}:{self.partition}:{self.offset}"]
        places = {
            (partition, offset) for where in found.values() for partition, of in where.items() for offset in of.tolist()
        }
        return [f"{self.topic}:{partition}:{offset}" for partition, offset in sorted(places)]

    def __str__(self) -> str:
        """Describe the records without their key, which can identify a person."""
        where = f"topic {self.topic}" if self.partition is None else f"{self.topic}:{self.partition}"
        if self.offset is not None:
            return f"record {where}:{self.offset}"
        return f"the records of {where} {'with this key' if self.wanted.key is not None else 'from this time'}"


def parse_time(timestamp: str | int | datetime) -> tuple[int, int]:
    """Return the milliseconds since 1970 that a time covers, from the first to the one after the last.

    A number, or a time with milliseconds, covers one millisecond; a time in whole seconds covers that second. A time
    without an offset is in UTC, like the clock of Kafka.

    Raises:
        UsageError: The text is no such time.
    """
    if isinstance(timestamp, str) and re.fullmatch("[0-9]{1,15}", timestamp):
        timestamp = int(timestamp)
    if isinstance(timestamp, int):
        if not 0 < timestamp < 10**15:
            raise UsageError(f"timestamp {timestamp} is not a number of milliseconds since 1970")
        return timestamp, timestamp + 1
    if isinstance(timestamp, str):
        try:
            timestamp = _parsed(timestamp)
        except ValueError as error:
            raise UsageError(
                f"timestamp {timestamp!r} is not a time such as 2026-01-31T12:00:00 (in UTC), "
                "nor a number of milliseconds since 1970"
            ) from error
    moment = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    first = round(moment.timestamp() * 1000)
    return first, first + (1 if moment.microsecond else 1000)


def _parsed(text: str) -> datetime:
    if not re.search(r"\d{2}:?\d{2}:?\d{2}", text):
        raise ValueError("it has no seconds")
    return datetime.fromisoformat(text)
