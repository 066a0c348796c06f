"""The records of a slice, and their digest. Knows no Kafka."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.stream.offsets import OffsetRange

CHUNK = 4096
"""Records hashed at a time: few calls, and no second copy of the whole slice."""


@dataclass(frozen=True)
class RawRecords:
    """Records in canonical order: topic, partition, offset.

    Attributes:
        ranges: what was read, in canonical order.
        values: each record's value.
        keys: each record's key.
    """

    ranges: list[OffsetRange]
    values: list[bytes]
    keys: list[bytes]

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def partitions(self) -> NDArray[np.int32]:
        """Partition of each record, int32 (n,)."""
        return np.repeat(np.array([r.partition for r in self.ranges], dtype=np.int32), [r.records for r in self.ranges])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Offset of each record, int64 (n,)."""
        return np.concatenate([np.arange(r.start, r.end, dtype=np.int64) for r in self.ranges])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of where the records lie and what they hold.

        It is that of: the ranges as `topic:partition:start:end[,...]` and a line feed; the lengths of all keys, then of all values, as little-endian
        int64; all keys; all values. Ranges are exact, so each byte belongs to one record's key or value alone.
        """
        state = hashlib.sha256((",".join(map(str, self.ranges)) + "\n").encode())
        for parts in (self.keys, self.values):
            state.update(lengths(parts).astype("<i8").tobytes())
        for parts in (self.keys, self.values):
            for joined in _joined(parts):
                state.update(joined)
        return state.hexdigest()

    def where(self, index: int) -> str:
        """Name a record by topic, partition and offset."""
        ends = list(accumulate(r.records for r in self.ranges))
        found = self.ranges[bisect_right(ends, index)]
        return f"{found.topic}:{found.partition}:{found.end - ends[bisect_right(ends, index)] + index}"


def lengths(parts: list[bytes]) -> NDArray[Any]:
    """Return the length of each part in bytes, int64 (n,)."""
    return np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))


def _joined(parts: list[bytes]) -> Iterator[bytes]:
    for first in range(0, len(parts), CHUNK):
        yield b"".join(parts[first : first + CHUNK])
