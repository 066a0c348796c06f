"""Records with and without labels in one topic, told apart by their keys."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.codecs import records

from fedstream.stream.codec.json_object import JsonCodec
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.records import UNLABELLED
from fedstream.stream.unlabelled import is_ambiguous, labelled_only, unlabelled_only, unlabelled_size

TWO_BYTES, ONE_BYTE = (RawCodec(np.dtype("uint8"), (2,), np.dtype(label_type), ()) for label_type in ("int16", "uint8"))


@given(
    st.lists(st.sampled_from([UNLABELLED, b"", b"\1", b"\0\0", b"\1\0"]), min_size=1, max_size=30), st.integers(0, 9)
)
def test_every_record_is_of_one_kind_and_keeps_its_place(keys, start):
    values = [f"value {number}".encode() for number in range(len(keys))]
    all_of_them = records(values, keys, start)
    bare = unlabelled_only(all_of_them)
    expected = [number for number, key in enumerate(keys) if key in (UNLABELLED, b"")]
    assert list(bare.values) == [values[number] for number in expected]
    assert list(bare.keys) == [keys[number] for number in expected]
    assert [bare.where(index) for index in range(len(bare))] == [f"t:3:{start + number}" for number in expected]
    if labelled := [number for number, key in enumerate(keys) if key != UNLABELLED]:
        kept = labelled_only(all_of_them, TWO_BYTES)
        assert list(kept.values) == [values[number] for number in labelled]
        assert kept.offsets.tolist() == [start + number for number in labelled]


def test_records_that_are_all_of_one_kind_are_not_copied():
    all_of_them = records([b"ab", b"cd"], [b"\0\0", b"\1\0"])
    assert labelled_only(all_of_them, TWO_BYTES) is all_of_them


def test_a_label_of_one_byte_can_be_zero_so_that_all_records_have_labels():
    all_of_them = records([b"ab", b"cd"], [UNLABELLED, b"\1"])
    assert labelled_only(all_of_them, ONE_BYTE) is all_of_them
    assert (is_ambiguous(ONE_BYTE), is_ambiguous(TWO_BYTES)) == (True, False)


def test_a_json_label_can_be_told_from_none_where_it_is_the_key():
    config = {"fields": ["a"], "data_type": "float32", "label_type": "int64"}
    assert not is_ambiguous(JsonCodec.from_config(config))
    assert is_ambiguous(JsonCodec.from_config(config | {"label_field": "b"}))


def test_a_topic_without_any_label_has_no_labelled_records():
    assert not len(labelled_only(records([b"ab", b"cd"], [UNLABELLED] * 2, 7), TWO_BYTES))


def test_a_record_without_a_label_needs_no_key():
    size = unlabelled_size(TWO_BYTES)
    assert (size.value, size.key, size.least, size.keyless) == (2, 2, 2, True)
