import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import RecordError
from fedstream.record.offsets import OffsetRange
from fedstream.stream.records import Column, RawRecords
from fedstream.stream.unusable import usable, without_skipped

GOOD, BAD = b"good", b"bad"


def decode(records: RawRecords) -> list[bytes]:
    if BAD in list(records.values):
        raise RecordError(f"record {records.where(list(records.values).index(BAD))} is bad")
    return list(records.values)


def records_of(good: list[bool], cut: int) -> RawRecords:
    """Return records in two ranges, of which the second begins at offset 100."""
    records = RawRecords([], Column(), Column())
    values = [GOOD if fine else BAD for fine in good]
    for start, part in ((0, values[:cut]), (100, values[cut:])):
        if part:
            records.append(OffsetRange("t", 0, start, start + len(part)), start, [b"k"] * len(part), part)
    return records


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 40), st.integers(1, 40))
def test_just_the_bad_records_are_left_out_or_there_are_too_many(good: list[bool], cut: int, most: int) -> None:
    records, cut = records_of(good, cut), min(cut, len(good))
    places = [number if number < cut else 100 + number - cut for number in range(len(good))]
    bad = [place for place, fine in zip(places, good, strict=True) if not fine]
    if bad and (len(bad) > most or len(bad) == len(good)):
        with pytest.raises(RecordError):
            usable(records, decode, most)
        return
    kept, decoded = usable(records, decode, most)
    assert decoded == [GOOD] * (len(good) - len(bad))
    assert [offset for r in kept.skipped for offset in range(r.start, r.end)] == bad
    np.testing.assert_array_equal(kept.offsets, [place for place in places if place not in bad])
    assert without_skipped(records, kept.skipped).digest == kept.digest


def test_whole_records_are_returned_as_they_are() -> None:
    records = records_of([True, True], 1)
    assert usable(records, decode, 5)[0] is records
    assert without_skipped(records, []) is records


def test_the_first_bad_record_is_named() -> None:
    with pytest.raises(RecordError, match=r"^record t:0:1 is bad$"):
        usable(records_of([True, False, True], 3), decode, 0)
    with pytest.raises(RecordError, match=r"^record t:0:1 is bad; more than 1 records cannot be used, which is what"):
        usable(records_of([True, False, False, True], 4), decode, 1)
    with pytest.raises(RecordError, match=r"t:0:0:1 contain no record that can be used"):
        usable(records_of([False], 1), decode, 1)
