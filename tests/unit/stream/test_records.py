import hashlib
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.record.offsets import OffsetRange
from fedstream.stream.records import Column, RawRecords

Pairs = list[tuple[bytes, bytes]]
pairs = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=3)), min_size=1, max_size=20)
cuts = st.lists(st.integers(0, 19), max_size=4)


def edges(count: int, cuts: list[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *sorted({cut % count for cut in cuts} - {0}), count]))


def spread(pairs: Pairs, cuts: list[int], batches: list[int]) -> RawRecords:
    """Lay the records out over ranges of several partitions, read in several batches."""
    ranges = [
        OffsetRange("t", number, 10 * number, 10 * number + end - start)
        for number, (start, end) in enumerate(edges(len(pairs), cuts))
    ]
    records = RawRecords(ranges, Column(), Column())
    for start, end in edges(len(pairs), batches):
        records.values.extend([value for value, _ in pairs[start:end]])
        records.keys.extend([key for _, key in pairs[start:end]])
    return records


def slow_digest(ranges: list[OffsetRange], pairs: Pairs) -> str:
    """The definition, word for word."""
    data = (",".join(f"{r.topic}:{r.partition}:{r.start}:{r.end}" for r in ranges) + "\n").encode()
    for part in [key for _, key in pairs] + [value for value, _ in pairs]:
        data += struct.pack("<q", len(part))
    for part in [key for _, key in pairs] + [value for value, _ in pairs]:
        data += part
    return hashlib.sha256(data).hexdigest()


@given(pairs, cuts, cuts)
def test_the_digest_is_the_definition_whatever_the_batches(pairs: Pairs, cuts: list[int], batches: list[int]) -> None:
    records = spread(pairs, cuts, batches)
    assert records.digest == slow_digest(records.ranges, pairs)


@given(pairs, pairs)
def test_other_records_have_another_digest(one: Pairs, other: Pairs) -> None:
    assert (spread(one, [], []).digest == spread(other, [], [7]).digest) == (one == other)


@given(pairs, cuts, cuts)
def test_every_record_knows_where_it_lies_and_what_it_holds(pairs: Pairs, cuts: list[int], batches: list[int]) -> None:
    records = spread(pairs, cuts, batches)
    places = [f"t:{partition}:{offset}" for partition, offset in zip(records.partitions, records.offsets, strict=True)]
    assert [records.where(index) for index in range(len(records))] == places
    assert places == [f"{r.topic}:{r.partition}:{offset}" for r in records.ranges for offset in range(r.start, r.end)]
    assert list(zip(records.values, records.keys, strict=True)) == pairs
    assert list(records.values.sizes) == [len(value) for value, _ in pairs]


def test_the_same_bytes_at_other_offsets_have_another_digest() -> None:
    one, other = spread([(b"v", b"k")], [], []), spread([(b"", b""), (b"v", b"k")], [1], [])
    moved = RawRecords([OffsetRange("t", 0, 1, 2)], one.values, one.keys)
    assert len({one.digest, moved.digest, other.digest}) == 3


def test_a_place_after_the_last_record_does_not_exist() -> None:
    with pytest.raises(IndexError):
        spread([(b"v", b"k")], [], []).where(1)


def test_a_batch_with_a_hole_is_refused_as_a_whole() -> None:
    column = Column()
    with pytest.raises(TypeError):
        column.extend([b"v", None])  # type: ignore[list-item]
    assert len(column) == 0


def test_types_are_as_documented() -> None:
    records = spread([(b"v", b"k")] * 3, [1], [])
    assert records.partitions.dtype == np.int32
    assert (records.offsets.dtype, records.values.sizes.dtype, Column().sizes.dtype) == (np.int64,) * 3
