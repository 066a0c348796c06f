"""What the store promises, on each server."""

import random
import threading
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fedstream.errors import CorruptObject, ObjectConflict, ObjectNotFound
from fedstream.record.canonical import sha256_hex
from fedstream.store.objects import ObjectStore

WRITERS = 16


def race(store, job):
    """Call job(number, its own store) in 16 threads that all begin at once, and return what came of each."""
    begin = threading.Barrier(WRITERS)

    def run(number):
        own = ObjectStore(store.settings)
        own.exists("warm-up")
        begin.wait(30)
        try:
            return job(number, own)
        except ObjectConflict as error:
            return error

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


@pytest.mark.parametrize("data", [b"", b"\0\xff", random.Random(1).randbytes(6_000_000)], ids=["empty", "binary", "6 MB"])
def test_bytes_come_back(store, data):
    assert store.put_new("a/b.bin", data) == sha256_hex(data)
    assert store.get("a/b.bin") == data


def test_a_large_object_is_copied_neither_on_its_way_out_nor_on_its_way_in(store):
    data, mib = random.Random(2).randbytes(32 * 2**20), 2**20
    store.exists("warm-up")
    tracemalloc.start()
    try:
        store.put_new("large", data)
        assert tracemalloc.get_traced_memory()[1] < 2 * mib
        tracemalloc.reset_peak()
        assert len(store.get("large")) == len(data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 2 * mib
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("key", ["clients/Zürich 1.json", "a b/c+d%2F&=?#e.json", "日本/'quoted'.json"])
def test_a_key_may_hold_any_text(store, key):
    store.put_new(key, b"x")
    assert store.get(key) == b"x"
    assert store.exists(key)
    assert [info.key for info in store.list("")] == [key]


def test_an_absent_object_is_named(store):
    with pytest.raises(ObjectNotFound) as error:
        store.get("runs/r/spec.json")
    assert f"{store.settings.prefix}runs/r/spec.json" in str(error.value)
    assert repr(store.settings.bucket) in str(error.value)
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


def test_prefixes_do_not_see_each_other(store, settings):
    store.put_new("k", b"mine")
    other = ObjectStore(replace(settings, prefix=settings.prefix.replace("test-", "other-")))
    assert other.list("") == []
    assert not other.exists("k")


def test_a_bucket_is_made_once(server):
    store = ObjectStore(replace(server, bucket=f"test-{uuid.uuid4().hex[:12]}"))
    store.ensure_bucket()
    store.ensure_bucket()
    store.check()
    store.put_new("k", b"v")
    assert store.get("k") == b"v"


def test_of_an_object_over_the_limit_no_more_is_read(store):
    store.put_new("big", b"x" * 1001)
    assert len(store.get("big", 1001)) == 1001
    with pytest.raises(CorruptObject, match=r"^big has more than 1,000 bytes"):
        store.get("big", 1000)
    assert len(store.get_with_etag("big", 10)[0]) == 11
