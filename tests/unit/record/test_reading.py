"""Whatever an object holds, reading it as a document ends in the document or in one CorruptObject."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import CorruptObject
from fedstream.record.commit import Commit
from fedstream.record.description import ModelDescription
from fedstream.record.documents import Manifest, Refusal, Selection, SliceDoc, Verdicts
from fedstream.record.reading import read_document
from fedstream.record.run import RunRecord

KINDS = [RunRecord, Commit, Manifest, Refusal, Selection, SliceDoc, Verdicts, ModelDescription]
GOOD = {"client": "a", "step": "train", "reason": "late"}
DAMAGED = {
    "nothing": b"",
    "half": b'{"client": "a", "st',
    "nested without end": b'{"client":' * 100_000,
    "nested as far as Python goes": b'{"client":' + b"[" * 900 + b"]" * 900 + b"}",
    "no UTF-8": b'{"client": "\xff"}',
    "half a character": b'{"client": "\\ud800", "step": "train", "reason": ""}',
    "a number of ten thousand digits": b'{"client": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"client": NaN}',
    "a list": b"[1]",
    "a field of anybody's": b'{"' + b"x" * 10_000 + b'": 1}',
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_object_is_said_to_be_corrupt_in_one_line(kind, data):
    with pytest.raises(CorruptObject, match=rf"^a/b\.json is no {kind.__name__}") as error:
        read_document(kind, data, "a/b.json")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@given(st.binary(), st.sampled_from(KINDS))
def test_random_bytes_are_corrupt(data, kind):
    with pytest.raises(CorruptObject):
        read_document(kind, data, "k")


def test_a_whole_one_is_read():
    assert read_document(Refusal, b'{"client": "a", "step": "train", "reason": "late"}', "k") == Refusal(**GOOD)


@pytest.mark.parametrize("reason", ["x" * 2_001, "x" * 10_000_000])
def test_what_a_client_writes_in_its_own_words_has_a_length(reason):
    with pytest.raises(CorruptObject, match="at most 2000 characters"):
        read_document(Refusal, Refusal.model_construct(**GOOD | {"reason": reason}).model_dump_json().encode(), "k")
