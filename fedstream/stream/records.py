"""The records of a slice and their digest. Does not depend on Kafka."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.record.offsets import OffsetRange

UNLABELLED = b"\0"
"""Key of a record without a label, and of a control message."""


@dataclass(frozen=True)
class RecordSize:
    """The size of a record in bytes.

    Attributes:
        value: Maximum size of the value.
        key: Maximum size of the key.
        least: Minimum size of the key and the value together.
        keyless: Whether the key is optional, because the label is part of the value.
    """

    value: int
    key: int
    least: int = 0
    keyless: bool = False

    @property
    def total(self) -> int:
        return self.value + self.key


@dataclass(frozen=True)
class Column:
    """Byte strings, concatenated as they arrive.

    A large slice would not fit into memory twice, as separate objects and as an array. It grows in place, so that
    records of one size are an array without another copy.

    Attributes:
        data: Bytes of all strings.
        lengths: Lengths of the strings of each batch, int64.
    """

    data: bytearray = field(default_factory=bytearray)
    lengths: list[NDArray[np.int64]] = field(default_factory=list)

    def extend(self, parts: Sequence[bytes]) -> None:
        """Append a batch.

        Raises:
            TypeError: One of the strings is None; nothing is appended.
        """
        self.data.extend(b"".join(parts))
        self.lengths.append(np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Length of each string in bytes, int64 (n,)."""
        return np.concatenate([np.empty(0, np.int64), *self.lengths])

    def __len__(self) -> int:
        return sum(map(len, self.lengths))

    def __iter__(self) -> Iterator[bytes]:
        ends, data = np.cumsum(self.sizes).tolist(), memoryview(self.data)
        return map(bytes, map(data.__getitem__, map(slice, [0, *ends], ends)))  # no call of Python for each string

    def __getitem__(self, index: int) -> bytes:
        sizes = self.sizes
        start = int(sizes[:index].sum())
        return bytes(self.data[start : start + int(sizes[index])])


def extend(ranges: list[OffsetRange], more: OffsetRange, wanted: OffsetRange) -> None:
    """Append offsets to ranges, or to the last of these if they follow it within the same wanted range."""
    last = ranges[-1] if ranges and more.start != wanted.start else None
    if last and (last.topic, last.partition, last.end) == (more.topic, more.partition, more.start):
        ranges[-1] = replace(last, end=more.end)
    else:
        ranges.append(more)


@dataclass(frozen=True)
class RawRecords:
    """Records in canonical order, which is by topic, partition and offset.

    Attributes:
        ranges: The offsets of the records, in canonical order.
        values: Value of each record.
        keys: Key of each record.
        gaps: Offsets among those asked for that transactions left without a record.
        skipped: Offsets among those asked for whose records cannot be used.
    """

    ranges: list[OffsetRange]
    values: Column
    keys: Column
    gaps: list[OffsetRange] = field(default_factory=list)
    skipped: list[OffsetRange] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(r.records for r in self.ranges)

    def append(
        self, wanted: OffsetRange, first: int, keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> int:
        """Append a batch without gaps, and return its size in bytes.

        Offsets that follow the last ones of the same range extend `ranges`.

        Args:
            wanted: Range that the batch belongs to.
            first: Offset of the first record.
            keys: Keys of the records.
            values: Values of the records.

        Raises:
            RecordError: A record has no key or no value.
        """
        for column, parts, what in ((self.values, values, "value"), (self.keys, keys, "key (its label)")):
            try:
                column.extend(parts)  # type: ignore[arg-type]  # extend raises TypeError for None
            except TypeError as error:
                at = first + next(number for number, part in enumerate(parts) if part is None)
                raise RecordError(
                    f"record {wanted.topic}:{wanted.partition}:{at} has no {what}; send it again with both"
                ) from error
        extend(self.ranges, OffsetRange(wanted.topic, wanted.partition, first, first + len(values)), wanted)
        return int(self.values.lengths[-1].sum() + self.keys.lengths[-1].sum())

    def without(self, wrong: Sequence[int]) -> RawRecords:
        """Return the records without those at some indexes, which ascend and whose offsets are added to `skipped`."""
        kept = RawRecords([], Column(), Column(), self.gaps, list(self.skipped))
        keys, values, at = list(self.keys), list(self.values), 0
        for piece in self.ranges:
            here = wrong[bisect_left(wrong, at) : bisect_left(wrong, at + piece.records)]
            for index in here:
                offset = piece.start + index - at
                extend(kept.skipped, OffsetRange(piece.topic, piece.partition, offset, offset + 1), piece)
            for before, end in pairwise([at - 1, *here, at + piece.records]):
                if (first := before + 1) < end:
                    kept.append(piece, piece.start + first - at, keys[first:end], values[first:end])
            at += piece.records
        kept.skipped.sort()
        return kept

    @property
    def nbytes(self) -> int:
        """Size of all keys and values in bytes."""
        return len(self.keys.data) + len(self.values.data)

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
        """SHA-256 of the positions and the content of the records.

        The input is the concatenation of the ranges as `topic:partition:start:end[,...]` and a line feed; the lengths
        of all keys, then of all values, as little-endian int64; all keys; and all values. Because the ranges are exact,
        each byte belongs to exactly one record's key or value.
        """
        state = hashlib.sha256(digest_prefix(self.ranges))
        for column in (self.keys, self.values):
            state.update(column.sizes.astype("<i8").tobytes())
        for column in (self.keys, self.values):
            state.update(column.data)
        return state.hexdigest()

    def where(self, index: int) -> str:
        """Return a record's position as `topic:partition:offset`."""
        ends = list(accumulate(r.records for r in self.ranges))
        found = self.ranges[bisect_right(ends, index)]
        return f"{found.topic}:{found.partition}:{found.end - ends[bisect_right(ends, index)] + index}"


def digest_prefix(ranges: Sequence[OffsetRange]) -> bytes:
    """Return the beginning of what the digest of records at these offsets covers."""
    return (",".join(map(str, ranges)) + "\n").encode()


def why_unusable(key: bytes | None, value: bytes | None, size: RecordSize | None) -> str:
    """Return why a record cannot be used, or an empty string."""
    if value is None:
        return "has no value"
    if key is None and not (size and size.keyless):
        return "has no key (its label)"
    if size and (len(value) > size.value or len(key or b"") > size.key):
        return "is larger than announced"
    return ""
