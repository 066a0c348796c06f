"""What the store promises, on each server; and what only S3 has: buckets, prefixes, pages."""

import random
import tracemalloc
import uuid
from dataclasses import replace

from support.store_behaviour import *  # noqa: F403

from fedstream.store.objects import ObjectStore


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
