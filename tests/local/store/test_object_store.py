"""What the store promises, on each server; and what only S3 has: buckets, prefixes, pages."""

import http.client
import io
import random
import time
import tracemalloc
import uuid
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from support.store_behaviour import *  # noqa: F403

from fedstream.errors import ObjectNotFound
from fedstream.record.canonical import sha256_hex
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


def test_an_empty_object_counts_as_none_and_is_replaced(store, settings):
    store._client.put_object(settings.bucket, settings.prefix + "k", io.BytesIO(), 0)
    assert not store.exists("k")
    assert store.list("") == []
    for read in (store.get, store.digest):
        with pytest.raises(ObjectNotFound):
            read("k")
    assert store.put_if_match("k", b"v", None)
    assert store.get("k") == b"v"
    assert not store.put_if_match("k", b"other", None)


def test_a_writer_that_dies_after_the_headers_leaves_nothing_behind(store):
    url, headers = store._signed_put("k", sha256_hex(b"v"), {"If-None-Match": "*"})
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.putrequest("PUT", urlsplit(url).path, skip_host=True)
    for name, value in (headers | {"Content-Length": 1}).items():
        connection.putheader(name, value)
    connection.endheaders()
    time.sleep(0.2)
    connection.close()
    time.sleep(0.5)
    assert not store.exists("k")
    assert store.put_new("k", b"v") == sha256_hex(b"v")
    assert store.get("k") == b"v"
