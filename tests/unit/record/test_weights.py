"""Weights as safetensors: they come back as they were, the same weights are the same bytes, and damage is named."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedstream.errors import CorruptObject
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import digest, from_bytes, to_bytes

DTYPES = st.sampled_from([np.float32, np.float16, np.float64, np.int8, np.int32, np.int64, np.uint8, np.bool_])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name != "__metadata__"
)
WEIGHTS = st.dictionaries(NAMES, ARRAYS, max_size=5)

SMALL = {"dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "seed": np.array(7, dtype=np.int64)}


@given(WEIGHTS)
def test_weights_come_back_bit_for_bit(weights):
    back = from_bytes(to_bytes(weights), "here")
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
        assert back[name].tobytes() == value.tobytes()


@given(WEIGHTS)
def test_the_order_of_variables_does_not_matter(weights):
    backwards = {name: weights[name] for name in reversed(weights)}
    assert to_bytes(backwards) == to_bytes(weights)
    assert digest(backwards) == sha256_hex(to_bytes(weights))


@pytest.mark.parametrize(
    "value",
    [np.array(2.5, np.float32), np.zeros((0,), np.float32), np.zeros((3, 0, 2), np.float32), np.array(-4, np.int64)],
)
def test_scalars_and_empty_arrays_keep_their_shape(value):
    back = from_bytes(to_bytes({"größe/κ": value}), "here")["größe/κ"]
    assert (back.shape, back.dtype, back.tobytes()) == (value.shape, value.dtype, value.tobytes())


def test_nan_and_infinity_come_back_as_they_are():
    value = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    assert from_bytes(to_bytes({"w": value}), "here")["w"].tobytes() == value.tobytes()


def test_the_layout_in_memory_does_not_matter():
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest({"w": np.asfortranarray(value)}) == digest({"w": value.T.copy().T}) == digest({"w": value})


def test_no_metadata_is_written():
    data = to_bytes(SMALL)
    (size,) = struct.unpack("<Q", data[:8])
    assert json.loads(data[8 : 8 + size]).keys() == SMALL.keys()


@given(st.binary(max_size=200))
def test_any_other_bytes_are_corrupt_and_named(data):
    with pytest.raises(CorruptObject, match=r"^runs/r/rounds/0001/global\.safetensors "):
        from_bytes(data, "runs/r/rounds/0001/global.safetensors")


@given(st.integers(0, len(to_bytes(SMALL)) - 1))
def test_a_shortened_object_is_corrupt(length):
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        from_bytes(to_bytes(SMALL)[:length], "updates/a")


@given(st.integers(0, len(to_bytes(SMALL)) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_other_weights_or_corrupt(position, bit):
    data = bytearray(to_bytes(SMALL))
    data[position] ^= 1 << bit
    with contextlib.suppress(CorruptObject):
        assert digest(from_bytes(bytes(data), "updates/a")) != digest(SMALL)


def headed(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}},
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [2**62, 16], "data_offsets": [0, 0]}},
        {"w": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}},
        {"w": {"dtype": "F32", "shape": [16], "data_offsets": [64, 0]}},
        {"w": {"dtype": "U128", "shape": [4], "data_offsets": [0, 64]}},
        {"w": {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]}},
        {"w": {"shape": [16], "data_offsets": [0, 64]}},
    ],
)
def test_a_header_that_lies_is_corrupt(header):
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        from_bytes(headed(header), "updates/a")


def test_a_header_longer_than_the_object_is_corrupt():
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        from_bytes(struct.pack("<Q", 2**62) + b"{}", "updates/a")
