"""What every store promises. The suites of the stores import these tests, and have a fixture `store` that is empty."""

import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fedstream.errors import CorruptObject, ObjectConflict, ObjectNotFound, StoreError
from fedstream.record.canonical import sha256_hex
from fedstream.record.weights import to_bytes
from fedstream.store.mapped import Downloads
from fedstream.store.store import PIECE_BYTES

WRITERS = 16


def race(store, job):
    """Call job(number, its own store) in 16 threads that all begin at once, and return what came of each."""
    begin = threading.Barrier(WRITERS)

    def run(number):
        own = store.within("")
        own.exists("warm-up")
        begin.wait(30)
        try:
            return job(number, own)
        except ObjectConflict as error:
            return error

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


@pytest.mark.parametrize("data", [b"\0\xff", random.Random(1).randbytes(6_000_000)], ids=["binary", "6 MB"])
def test_bytes_come_back(store, data):
    assert store.put_new("a/b.bin", data) == sha256_hex(data)
    assert store.get("a/b.bin") == data


def test_no_object_is_empty(store):
    with pytest.raises(StoreError, match=r"a/b\.bin would be empty; a store holds no empty objects"):
        store.put_new("a/b.bin", b"")
    assert not store.exists("a/b.bin")


@pytest.mark.parametrize("key", ["clients/Zürich 1.json", "a b/c+d%2F&=?#e.json", "日本/'quoted'.json"])
def test_a_key_may_hold_any_text(store, key):
    store.put_new(key, b"x")
    assert store.get(key) == b"x"
    assert store.exists(key)
    assert [info.key for info in store.list("")] == [key]


def test_an_absent_object_is_named(store):
    with pytest.raises(ObjectNotFound) as error:
        store.get("runs/r/spec.json")
    assert "runs/r/spec.json" in str(error.value)
    assert store.name in str(error.value)
    assert not store.exists("runs/r/spec.json")


def test_written_twice_with_the_same_bytes_is_a_success(store):
    assert store.put_new("k", b"same") == store.put_new("k", b"same")


def test_written_twice_with_other_bytes_is_a_conflict_that_names_both(store):
    store.put_new("k", b"first")
    with pytest.raises(ObjectConflict) as error:
        store.put_new("k", b"second")
    for part in ("k is on record", sha256_hex(b"first"), sha256_hex(b"second")):
        assert part in str(error.value)
    assert store.get("k") == b"first"


def test_of_racing_writers_exactly_one_wins(store):
    outcomes = race(store, lambda number, own: own.put_new("raced", f"writer {number}".encode()))
    won = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert won == [sha256_hex(store.get("raced"))]
    assert all(won[0] in str(outcome) for outcome in outcomes if outcome != won[0])


def test_racing_writers_of_the_same_bytes_all_succeed(store):
    assert race(store, lambda _, own: own.put_new("raced", b"same")) == [sha256_hex(b"same")] * WRITERS


def test_json_is_written_in_canonical_form(store):
    digest = store.put_new_json("d.json", {"b": 1, "a": "ü"})
    assert store.get("d.json") == '{"a":"ü","b":1}'.encode()
    assert store.get_json("d.json") == {"a": "ü", "b": 1}
    assert digest == sha256_hex(store.get("d.json"))


def test_json_that_is_none_is_corrupt(store):
    store.put_new("d.json", b"{")
    with pytest.raises(CorruptObject, match=r"^d\.json is not JSON"):
        store.get_json("d.json")


def test_verified_reading_names_the_key_and_both_digests(store):
    store.put_new("w", b"weights")
    assert store.get_verified("w", sha256_hex(b"weights")) == b"weights"
    with pytest.raises(CorruptObject) as error:
        store.get_verified("w", "0" * 64)
    for part in ("w has digest", sha256_hex(b"weights"), "0" * 64):
        assert part in str(error.value)


def test_an_object_is_replaced_only_while_its_tag_is_current(store):
    assert store.put_if_match("latest.json", b"1", None)
    assert not store.put_if_match("latest.json", b"other", None)
    data, tag = store.get_with_etag("latest.json")
    assert data == b"1"
    assert store.put_if_match("latest.json", b"2", tag)
    assert not store.put_if_match("latest.json", b"3", tag)
    assert store.get("latest.json") == b"2"


def test_of_racing_replacements_exactly_one_wins(store):
    store.put_if_match("latest.json", b"old", None)
    _, tag = store.get_with_etag("latest.json")
    won = race(store, lambda number, own: own.put_if_match("latest.json", f"new {number}".encode(), tag))
    assert won.count(True) == 1
    assert store.get("latest.json") == f"new {won.index(True)}".encode()


def test_a_listing_has_all_objects_below_a_prefix_in_order(store):
    for key in ("runs/b/2", "runs/b/1", "runs/a/x/y", "runs/ab", "models/m"):
        store.put_new(key, key.encode())
    assert [info.key for info in store.list("runs/")] == ["runs/a/x/y", "runs/ab", "runs/b/1", "runs/b/2"]
    assert [info.key for info in store.list("runs/a")] == ["runs/a/x/y", "runs/ab"]
    assert store.list("absent/") == []


def test_a_listing_knows_sizes_and_times(store):
    store.put_new("k", b"12345")
    (info,) = store.list("k")
    assert info.size == 5
    assert abs(datetime.now(UTC) - info.last_modified) < timedelta(minutes=5)


def test_a_listing_has_more_objects_than_one_page_of_s3(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put_new(f"many/{number:04d}", b"."), range(1005)))
    assert [info.key for info in store.list("many/")] == [f"many/{number:04d}" for number in range(1005)]


def test_of_an_object_over_the_limit_no_more_is_read(store):
    store.put_new("big", b"x" * 1001)
    assert len(store.get("big", 1001)) == 1001
    with pytest.raises(CorruptObject, match=r"^big has more than 1,000 bytes"):
        store.get("big", 1000)
    assert len(store.get_with_etag("big", 10)[0]) == 11


LIMIT = 20 * PIECE_BYTES
LARGE = np.random.default_rng(1).integers(0, 256, 12 * PIECE_BYTES + 5, np.uint8).tobytes()


@pytest.mark.parametrize("data", [b"\0\xff", LARGE], ids=["binary", "13 pieces"])
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
    with pytest.raises(
        StoreError, match=r"^cannot write /dev/full: No space left on device; free some space there, or set TMPDIR to"
    ):
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
    with (
        Downloads(store, LIMIT) as downloads,
        pytest.raises(CorruptObject, match=r"^runs/r/w holds no valid safetensors"),
    ):
        downloads.weights("runs/r/w", sha256_hex(b"no weights"))


def test_a_part_of_a_store_sees_only_what_is_below_its_prefix(store):
    part = store.within("copies/1/")
    part.put_new("runs/r/spec.json", b"{}")
    store.put_new("runs/other", b"{}")
    assert [info.key for info in part.list("")] == ["runs/r/spec.json"]
    assert store.get("copies/1/runs/r/spec.json") == b"{}"
    assert part.uri("runs/r/spec.json") == store.uri("copies/1/runs/r/spec.json")


def test_folders_are_those_right_below_a_prefix(store):
    for key in ("runs/b/spec.json", "runs/a/rounds/0000/commit.json", "runs/file", "models/m/latest.json"):
        store.put_new(key, b"{}")
    assert list(store.folders("runs/")) == ["a", "b"]
    assert list(store.folders("absent/")) == []


def test_what_is_removed_can_be_written_anew(store):
    store.put_new("probe", b"1")
    store.remove("probe")
    assert not store.exists("probe")
    store.remove("probe")
    store.put_new("probe", b"2")


def test_a_pointer_that_is_gone_is_not_replaced(store):
    store.put_if_match("latest.json", b"1", None)
    _, tag = store.get_with_etag("latest.json")
    store.remove("latest.json")
    assert not store.put_if_match("latest.json", b"2", tag)


def test_a_store_that_works_says_nothing(store):
    store.check()
