"""From values to predictions, with an obvious model:
the mean of a record, which it cannot form of records that begin with 99.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import ModelError, RecordError
from fedstream.serving.predictions import answers
from fedstream.serving.versions import Served
from fedstream.stream.codec.raw import RawCodec

CODEC = RawCodec(np.dtype(np.float32), (2, 2), np.dtype(np.uint8), ())


def mean(samples):
    if (samples[:, 0, 0] == 99).any():
        raise RecordError("the model cannot take its values")
    return samples.mean(axis=(1, 2), keepdims=True)[:, 0]


SERVED = Served("m", 3, "e" * 64, CODEC, mean)
value = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.lists(st.sampled_from([0.0, 1.5, -2.0, 99.0, math.nan, math.inf]), min_size=4, max_size=4).map(
        lambda v: np.array(v, np.float32).tobytes()
    ),
)


def one_by_one(data):
    if data is None or len(data) != 16:
        return "expected 16 bytes (float32 of shape (2, 2))"
    numbers = np.frombuffer(data, np.float32)
    if numbers[0] == 99:
        return "the model cannot take its values"
    if not math.isfinite(numbers.mean()):
        return "its prediction is not finite, which JSON cannot represent"
    return {"values": [float(numbers.mean())]}


@given(st.lists(value, max_size=12))
def test_each_record_of_a_batch_is_answered_as_if_it_were_alone(values):
    found = [
        str(answer) if isinstance(answer, RecordError) else json.loads(answer) for answer in answers(SERVED, values)
    ]
    assert len(found) == len(values)
    for got, expected in zip(found, map(one_by_one, values), strict=True):
        assert got == expected or (isinstance(expected, str) and isinstance(got, str) and got.endswith(expected))


def test_what_is_wrong_with_a_record_is_said():
    missing, short = answers(SERVED, [None, b"123"])
    assert str(missing) == "it has no value, expected 16 bytes (float32 of shape (2, 2))"
    assert str(short) == "it has a value of 3 bytes, expected 16 bytes (float32 of shape (2, 2))"


def test_a_model_that_fails_for_its_own_reasons_fails_the_batch():
    def broken(samples):
        raise ModelError("the model fails on a batch")

    with pytest.raises(ModelError, match="the model fails on a batch"):
        answers(Served("m", 3, "e" * 64, CODEC, broken), [bytes(16)] * 2)


def test_headers_name_model_version_and_weights():
    assert SERVED.headers == [("fedstream-model", b"m"), ("fedstream-version", b"3"), ("fedstream-weights", b"e" * 64)]
