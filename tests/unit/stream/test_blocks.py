"""Slices are divided into blocks, and their digest does not depend on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.record.format import StreamFormat
from fedstream.record.offsets import OffsetRange
from fedstream.stream import blocks
from fedstream.stream.blocks import blocks_of, digest_in_passes, records_per_block
from fedstream.stream.codec import get_codec
from fedstream.stream.records import Column, RawRecords

Lengths = st.lists(st.integers(1, 30), min_size=1, max_size=6)


def ranges_of(lengths: list[int]) -> list[OffsetRange]:
    return [OffsetRange("t", number, 5 * number, 5 * number + length) for number, length in enumerate(lengths)]


@given(Lengths, st.integers(1, 40))
def test_blocks_have_all_records_in_order(lengths: list[int], size: int) -> None:
    ranges = ranges_of(lengths)
    found = blocks_of(ranges[::-1], size)
    assert [sum(r.records for r in block) for block in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < sum(r.records for r in found[-1]) <= size
    places = [(r.partition, offset) for block in found for r in block for offset in range(r.start, r.end)]
    assert places == [(r.partition, offset) for r in ranges for offset in range(r.start, r.end)]


@given(Lengths, st.integers(1, 40), st.data(), st.sampled_from([0, 20, 10**6]))
def test_the_digest_of_passes_is_that_of_memory(lengths: list[int], size: int, data: st.DataObject, held: int) -> None:
    ranges = ranges_of(lengths)
    pairs = data.draw(
        st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=9)), min_size=sum(lengths), max_size=sum(lengths))
    )
    whole = RawRecords(ranges, Column(), Column())
    whole.keys.extend([key for key, _ in pairs])
    whole.values.extend([value for _, value in pairs])

    def read() -> Iterator[RawRecords]:
        left = iter(pairs)
        for block in blocks_of(ranges, size):
            own = RawRecords(block, Column(), Column())
            for key, value in (next(left) for _ in range(len(own))):
                own.keys.extend([key])
                own.values.extend([value])
            yield own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "KEY_BYTES", held)
        assert digest_in_passes(ranges, read) == whole.digest


@pytest.mark.parametrize(
    ("data_type", "shape", "records"),
    [("uint8", "28 28", 2671), ("float32", "28 28", 2671), ("float64", "1", 32768), ("uint8", "1024 1024", 1)],
)
def test_a_block_fits_into_memory_as_float32(data_type: str, shape: str, records: int) -> None:
    config = {"data_type": data_type, "data_reshape": shape, "label_type": "uint8", "label_reshape": "1"}
    assert records_per_block(get_codec(StreamFormat("RAW", config))) == records


def test_a_column_of_equal_lengths_needs_one_of_them() -> None:
    assert blocks._compact(np.full(10_000, 784)).base.nbytes == 8
    assert blocks._compact(np.array([3, 200])).dtype == np.uint8
