"""Objects that are fetched to files: bounded memory, checked digests, and a folder that goes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fedstream.errors import CorruptObject, ObjectNotFound, StoreError
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import to_bytes
from fedstream.store.mapped import Downloads
from fedstream.store.objects import PIECE_BYTES

LIMIT = 20 * PIECE_BYTES
LARGE = np.random.default_rng(1).integers(0, 256, 12 * PIECE_BYTES + 5, np.uint8).tobytes()


@pytest.mark.parametrize("data", [b"", b"\0\xff", LARGE], ids=["empty", "binary", "13 pieces"])
def test_a_file_has_the_objects_bytes(store, tmp_path, data):
    store.put_new("w", data)
    store.download("w", sha256_hex(data), tmp_path / "file", LIMIT)
    assert (tmp_path / "file").read_bytes() == data


def test_the_memory_is_that_of_pieces(store, tmp_path):
    store.put_new("w", LARGE)
    tracemalloc.start()
    try:
        store.download("w", sha256_hex(LARGE), tmp_path / "file", LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(LARGE) / 2


def test_another_digest_is_named_and_leaves_no_file(store, tmp_path):
    store.put_new("w", b"weights")
    with pytest.raises(CorruptObject) as error:
        store.download("w", "0" * 64, tmp_path / "file", LIMIT)
    for part in ("w has digest", sha256_hex(b"weights"), "0" * 64):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_larger_object_is_refused_before_it_is_read(store, tmp_path):
    store.put_new("w", LARGE)
    with pytest.raises(CorruptObject, match=r"^w has more than 1,048,576 bytes"):
        store.download("w", sha256_hex(LARGE), tmp_path / "file", PIECE_BYTES)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_object(store, tmp_path):
    with pytest.raises(ObjectNotFound, match="there is no object"):
        store.download("w", "0" * 64, tmp_path / "file", LIMIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_absent_store(store, monkeypatch):
    store.put_new("w", b"weights")
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok: None)
    with pytest.raises(StoreError, match=r"^cannot write /dev/full: No space left on device; make room there, or let TMPDIR name"):
        store.download("w", sha256_hex(b"weights"), Path("/dev/full"), LIMIT)


def test_each_object_is_fetched_once_and_the_folder_goes(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = to_bytes({"w": np.arange(3, dtype=np.float32)})
    store.put_new("runs/r/w", data)
    with Downloads(store, LIMIT) as downloads:
        first = downloads.weights("runs/r/w", sha256_hex(data))
        assert first["w"].tolist() == [0, 1, 2]
        assert downloads.weights("runs/r/w", sha256_hex(data)) is first
        assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_no_weights_is_corrupt(store):
    store.put_new("runs/r/w", b"no weights")
    with Downloads(store, LIMIT) as downloads, pytest.raises(CorruptObject, match=r"^runs/r/w holds no valid safetensors"):
        downloads.weights("runs/r/w", sha256_hex(b"no weights"))
