"""The records of a slice, and their digest. Knows no Kafka."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.record.offsets import OffsetRange

UNLABELLED = b"\0"
"""Key of a record without label, and of a control message."""


@dataclass(frozen=True)
class RecordSize:
    """Bytes of a record.

    Attributes:
        value: most bytes of its value.
        key: most bytes of its key.
        least: fewest bytes of both together.
        keyless: whether a record may do without a key, since its label is in its value.
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
    """Byte strings laid end to end, a batch at a time: large slices would not fit twice, once as objects and once as an array.

    Attributes:
        chunks: the batches' bytes.
        lengths: of the strings in each batch, int64.
    """

    chunks: list[bytes] = field(default_factory=list)
    lengths: list[NDArray[np.int64]] = field(default_factory=list)

    def extend(self, parts: Sequence[bytes]) -> None:
        """Append a batch.

        Raises:
            TypeError: one of them is None; nothing is appended.
        """
        self.chunks.append(b"".join(parts))
        self.lengths.append(np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Length of each string in bytes, int64 (n,)."""
        return np.concatenate([np.empty(0, np.int64), *self.lengths])

    def __len__(self) -> int:
        return sum(map(len, self.lengths))

    def __iter__(self) -> Iterator[bytes]:
        for chunk, lengths in zip(self.chunks, self.lengths, strict=True):
            ends = np.cumsum(lengths).tolist()
            yield from (chunk[start:end] for start, end in zip([0, *ends], ends, strict=False))

    def __getitem__(self, index: int) -> bytes:
        for chunk, lengths in zip(self.chunks, self.lengths, strict=True):
            if index < len(lengths):
                start = int(lengths[:index].sum())
                return chunk[start : start + int(lengths[index])]
            index -= len(lengths)
        raise IndexError(index)


@dataclass(frozen=True)
class RawRecords:
    """Records in canonical order: topic, partition, offset.

    Attributes:
        ranges: what was read, in canonical order.
        values: each record's value.
        keys: each record's key.
    """

    ranges: list[OffsetRange]
    values: Column
    keys: Column

    def __len__(self) -> int:
        return sum(r.records for r in self.ranges)

    def append(
        self, wanted: OffsetRange, first: int, keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> int:
        """Append a batch without a gap, and return its bytes.

        Args:
            wanted: the range that it is of.
            first: offset of its first record.
            keys: of its records.
            values: of its records.

        Raises:
            RecordError: a record has no key or no value.
        """
        for column, parts, what in ((self.values, values, "value"), (self.keys, keys, "key (its label)")):
            try:
                column.extend(parts)  # type: ignore[arg-type]  # it says so
            except TypeError as error:
                at = first + next(number for number, part in enumerate(parts) if part is None)
                raise RecordError(
                    f"record {wanted.topic}:{wanted.partition}:{at} has no {what}; send it again with both"
                ) from error
        return len(self.values.chunks[-1]) + len(self.keys.chunks[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(len(chunk) for column in (self.keys, self.values) for chunk in column.chunks)

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
        for column in (self.keys, self.values):
            state.update(column.sizes.astype("<i8").tobytes())
        for column in (self.keys, self.values):
            for chunk in column.chunks:
                state.update(chunk)
        return state.hexdigest()

    def where(self, index: int) -> str:
        """Name a record by topic, partition and offset."""
        ends = list(accumulate(r.records for r in self.ranges))
        found = self.ranges[bisect_right(ends, index)]
        return f"{found.topic}:{found.partition}:{found.end - ends[bisect_right(ends, index)] + index}"
