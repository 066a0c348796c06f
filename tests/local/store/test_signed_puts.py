"""What somebody can do who sees a PUT on its way, on each server: send the same once more, and nothing else."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fedstream.errors import StoreUnavailable
from fedstream.record.canonical import sha256_hex
from fedstream.store import signing
from fedstream.store.objects import ObjectStore

CONDITION = {"If-None-Match": "*"}
REFUSED = {400, 403}  # MinIO calls a signed header that is missing a bad request


@pytest.fixture
def captured(store):
    """A PUT of `first` as it was sent, and how to send it again with changes."""
    url, headers = store._signed_put("k", sha256_hex(b"first"), CONDITION)

    def send(data=b"first", **changes):
        asked = {name: value for name, value in (headers | changes).items() if value is not None}
        return store._http.request("PUT", url, body=data, headers=asked).status

    assert send() == 200
    return send


def test_nothing_is_signed_in_the_address_where_logs_would_keep_it(store):
    url, headers = store._signed_put("k", sha256_hex(b"first"), CONDITION)
    assert "?" not in url
    (signed,) = [part for part in headers["Authorization"].split(", ") if part.startswith("SignedHeaders=")]
    assert signed == "SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date"


def test_the_same_request_again_changes_nothing(captured):
    assert captured() == 412


@pytest.mark.parametrize(
    "changes",
    [
        {"If-None-Match": None},
        {"If-None-Match": '"0"'},
        {"x-amz-content-sha256": sha256_hex(b"other"), "data": b"other"},
    ],
    ids=["without the condition", "with another condition", "with other bytes"],
)
def test_a_request_that_was_changed_is_refused(captured, store, changes):
    assert captured(**changes) in REFUSED
    assert store.get("k") == b"first"


def test_bytes_that_are_not_those_signed_are_refused_by_minio(minio):
    """SeaweedFS 4.48 does not compare them; the digests on record do."""
    store = ObjectStore(replace(minio.settings, prefix=f"test-{uuid.uuid4().hex[:12]}/"))
    url, headers = store._signed_put("k", sha256_hex(b"first"), CONDITION)
    assert store._http.request("PUT", url, body=b"other", headers=headers).status == 400
    assert not store.exists("k")


def test_a_replacement_signs_the_tag_that_it_replaces(store):
    store.put_new("latest.json", b"1")
    _, tag = store.get_with_etag("latest.json")
    url, headers = store._signed_put("latest.json", sha256_hex(b"2"), {"If-Match": tag})
    del headers["If-Match"]
    assert store._http.request("PUT", url, body=b"2", headers=headers).status in REFUSED
    assert store.get("latest.json") == b"1"


def test_a_request_is_good_for_minutes(store, monkeypatch):
    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) - timedelta(minutes=16)

    monkeypatch.setattr(signing, "datetime", Earlier)
    with pytest.raises(StoreUnavailable, match="HTTP 403"):
        store.put_new("k", b"late")
    monkeypatch.undo()
    assert not store.exists("k")
