"""Weights mapped from a file are those that are read from its bytes, and refused where those are."""

import contextlib
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedstream.deadline import Deadline
from fedstream.errors import CorruptObject
from fedstream.record.canonical import sha256_hex
from fedstream.record.extras import spec_of
from fedstream.record.weights import digest, from_bytes, to_bytes
from fedstream.store import mapped as mapping
from fedstream.store import resident
from fedstream.store.mapped import SMALL_BYTES, Downloads, largest_update, map_weights
from fedstream.store.memory import MemoryStore

DTYPES = [
    np.float16,
    np.float32,
    np.float64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.bool_,
]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
WEIGHTS = st.dictionaries(st.sampled_from(["a", "größe/κ", "dense/kernel", "b"]), ARRAYS)

SMALL = to_bytes({"dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "seed": np.array(7, dtype=np.int64)})


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Return a function that maps bytes from a file."""
    folder = tmp_path_factory.mktemp("mapped")

    def of(data):
        path = folder / "w.safetensors"
        path.unlink(missing_ok=True)  # what is mapped must not change
        path.write_bytes(data)
        return map_weights(path, "updates/a")

    return of


@settings(deadline=None)
@given(WEIGHTS)
def test_the_same_as_from_bytes(mapped, weights):
    found, expected = mapped(to_bytes(weights)), from_bytes(to_bytes(weights), "updates/a")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (
            value.dtype,
            value.shape,
            value.tobytes(),
        )


def test_mapped_arrays_cannot_be_written(mapped):
    with pytest.raises(ValueError, match="read-only"):
        mapped(SMALL)["dense/kernel"][0] = 1


def test_an_array_that_is_not_aligned(mapped):
    header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}} '
    data = struct.pack("<Q", len(header)) + header + np.arange(3, dtype=np.float32).tobytes()
    assert (8 + len(header)) % 4 == 0
    for pad in range(1, 4):
        odd = struct.pack("<Q", len(header) + pad) + header + b" " * pad + np.arange(3, dtype=np.float32).tobytes()
        assert mapped(odd)["w"].tolist() == mapped(data)["w"].tolist() == [0, 1, 2]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_corrupt_and_named(mapped, data):
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        mapped(data)


@settings(deadline=None)
@given(st.integers(0, len(SMALL) - 1))
def test_a_shortened_file_is_corrupt(mapped, length):
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        mapped(SMALL[:length])


@settings(deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_other_weights_or_corrupt(mapped, position, bit):
    data = bytearray(SMALL)
    data[position] ^= 1 << bit
    with contextlib.suppress(CorruptObject):
        assert digest(mapped(bytes(data))) != digest(from_bytes(SMALL, "small"))


@pytest.mark.parametrize(
    "entry",
    [
        '"dtype":"F32","shape":[3],"data_offsets":[0,8]',
        '"dtype":"F32","shape":[2],"data_offsets":[4,12]',
        '"dtype":"F32","shape":[-1],"data_offsets":[0,8]',
        '"dtype":"F32","shape":[2],"data_offsets":[0,4294967296]',
        '"dtype":"X32","shape":[2],"data_offsets":[0,8]',
        '"dtype":"C64","shape":[1],"data_offsets":[0,8]',
        '"shape":[2]',
    ],
)
def test_a_header_that_lies_is_corrupt(mapped, entry):
    header = f'{{"w":{{{entry}}}}}'.encode()
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        mapped(struct.pack("<Q", len(header)) + header + bytes(8))


def test_an_absurd_header_length_is_corrupt(mapped):
    with pytest.raises(CorruptObject, match=r"^updates/a "):
        mapped(struct.pack("<Q", 2**62) + b"{}")


@pytest.mark.parametrize("size", [1, SMALL_BYTES])
def test_an_object_is_decoded_once_and_mapped_if_it_is_large(size):
    store, decoded = MemoryStore(), []
    store.put_new("a", SMALL)

    def decode(arrays):
        decoded.append(arrays)
        return {"sum": np.full(size, arrays["dense/kernel"].sum(), np.float32)}

    with Downloads(store, 10_000) as downloads:
        found = [downloads.weights("a", sha256_hex(SMALL), decode)["sum"] for _ in range(2)]
        assert [float(value[0]) for value in found] == [15, 15]
        assert len(decoded) == 1
        assert found[0].flags.owndata == (size == 1), "the values of the large one are in a file"


def test_what_cannot_be_decoded_is_corrupt():
    store = MemoryStore()
    store.put_new("a", SMALL)

    def decode(arrays):
        raise CorruptObject("array 'w' is missing")

    with Downloads(store, 10_000) as downloads, pytest.raises(CorruptObject, match="array 'w' is missing"):
        downloads.weights("a", sha256_hex(SMALL), decode)


UPDATE = {"w": np.arange(3, dtype=np.float32)}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Return a store and the downloads of a small model, whose temporary folder is tmp_path."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = MemoryStore()
    with Downloads(store, largest_update({name: spec_of(array) for name, array in UPDATE.items()})) as downloads:
        yield store, downloads
    assert list(tmp_path.iterdir()) == []


def test_a_small_update_needs_no_file(small, tmp_path):
    store, downloads = small
    key_digest = store.put_new("u", to_bytes(UPDATE))
    found = downloads.weights("u", key_digest)
    assert found["w"].tolist() == [0, 1, 2]
    assert not found["w"].flags.writeable
    assert downloads.weights("u", key_digest) is found
    assert list(tmp_path.iterdir()) == []


def test_a_small_update_is_checked(small):
    store, downloads = small
    key_digest = store.put_new("u", b"no weights")
    with pytest.raises(CorruptObject, match=r"u has digest .*, but 0000"):
        downloads.weights("u", "0" * 64)
    with pytest.raises(CorruptObject, match="u holds no valid safetensors"):
        downloads.weights("u", key_digest)


def test_an_update_that_is_larger_than_the_model_is_mapped(small, tmp_path):
    store, downloads = small
    large = {"w": np.zeros(SMALL_BYTES // 4 + 1, np.float32)}
    assert downloads.weights("u", store.put_new("u", to_bytes(large)))["w"].shape == large["w"].shape
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_only_so_many_bytes_are_held(small, tmp_path, monkeypatch):
    store, downloads = small
    data = to_bytes(UPDATE)
    monkeypatch.setattr(mapping, "HELD_BYTES", len(data))
    for key in ("a", "b"):
        downloads.weights(key, store.put_new(key, data))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def resident_of(path):
    """Return how many KiB of a mapped file are in the memory of this process."""
    lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines())
    return sum(
        int(next(line for line in lines if line.startswith("Rss:")).split()[1]) for line in lines if str(path) in line
    )


@pytest.mark.skipif(not resident.STATM.exists(), reason="only Linux tells what is resident")
def test_what_was_read_of_a_mapped_file_is_given_back_and_can_be_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "LARGEST_BYTES", 0)
    weights, path = {"w": np.arange(1 << 20, dtype=np.float32)}, tmp_path / "w.safetensors"
    path.write_bytes(to_bytes(weights))
    watcher = resident.Resident()
    array = map_weights(path, "updates/a", watcher.watch)["w"]
    try:
        for _ in range(2):
            assert np.array_equal(array, weights["w"])
            deadline = Deadline.after(20)
            while resident_of(path) and not deadline.passed:
                time.sleep(resident.EVERY_S)
            assert resident_of(path) == 0
    finally:
        watcher.end()
    assert array.sum() == weights["w"].sum()
    assert resident_of(path) >= array.nbytes // 1024


def test_the_thread_that_gives_pages_back_ends_with_the_context(tmp_path):
    store, data = MemoryStore(), to_bytes({"w": np.zeros(SMALL_BYTES, np.float32)})
    store.put_new("updates/a", data)
    with Downloads(store, len(data)) as downloads:
        downloads.weights("updates/a", sha256_hex(data))
        names = [thread.name for thread in threading.enumerate()]
        assert "fedstream-resident" in names or not resident.STATM.exists()
    assert "fedstream-resident" not in [thread.name for thread in threading.enumerate()]
