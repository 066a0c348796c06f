import hashlib
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.stream import records as module
from fedstream.stream.offsets import OffsetRange
from fedstream.stream.records import RawRecords

pairs = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=3)), min_size=1, max_size=20)


def spread(pairs: list[tuple[bytes, bytes]], cuts: list[int]) -> RawRecords:
    """Lay the records out over ranges of several partitions."""
    edges = [0, *sorted({cut % len(pairs) for cut in cuts} - {0}), len(pairs)]
    ranges = [OffsetRange("t", number, 10 * number, 10 * number + end - start) for number, (start, end) in enumerate(pairwise(edges))]
    return RawRecords(ranges, [value for value, _ in pairs], [key for _, key in pairs])


def slow_digest(records: RawRecords) -> str:
    """The definition, word for word."""
    text = ",".join(f"{r.topic}:{r.partition}:{r.start}:{r.end}" for r in records.ranges) + "\n"
    lengths = [len(part) for part in records.keys] + [len(part) for part in records.values]
    data = text.encode() + b"".join(struct.pack("<q", length) for length in lengths)
    for part in [*records.keys, *records.values]:
        data += part
    return hashlib.sha256(data).hexdigest()


@given(pairs, st.lists(st.integers(0, 19), max_size=4), st.integers(1, 7))
def test_the_fast_digest_is_the_definition(pairs: list[tuple[bytes, bytes]], cuts: list[int], chunk: int) -> None:
    before, module.CHUNK = module.CHUNK, chunk
    try:
        assert spread(pairs, cuts).digest == slow_digest(spread(pairs, cuts))
    finally:
        module.CHUNK = before


@given(pairs, pairs)
def test_other_records_have_another_digest(one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]) -> None:
    assert (spread(one, []).digest == spread(other, []).digest) == (one == other)


@given(pairs, st.lists(st.integers(0, 19), max_size=4))
def test_every_record_knows_where_it_lies(pairs: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    records = spread(pairs, cuts)
    places = [f"t:{partition}:{offset}" for partition, offset in zip(records.partitions, records.offsets, strict=True)]
    assert [records.where(index) for index in range(len(records))] == places
    assert places == [f"{r.topic}:{r.partition}:{offset}" for r in records.ranges for offset in range(r.start, r.end)]


def test_the_same_bytes_at_other_offsets_have_another_digest() -> None:
    one, other = (RawRecords([OffsetRange("t", 0, start, start + 1)], [b"v"], [b"k"]) for start in (0, 1))
    assert one.digest != other.digest


def test_a_place_after_the_last_record_does_not_exist() -> None:
    with pytest.raises(IndexError):
        RawRecords([OffsetRange("t", 0, 0, 1)], [b"v"], [b"k"]).where(1)


def test_types_are_as_documented() -> None:
    records = spread([(b"v", b"k")] * 3, [1])
    assert records.partitions.dtype == np.int32
    assert records.offsets.dtype == np.int64
