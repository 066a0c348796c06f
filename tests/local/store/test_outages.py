"""A store that does not work says what is wrong and what to do; one that restarts is waited for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fedstream.errors import StoreUnavailable
from fedstream.local.process import free_ports
from fedstream.store.objects import ObjectStore

PATIENCE_S = 1.0
CALLS = {
    "check": lambda store: store.check(),
    "get": lambda store: store.get("k"),
    "exists": lambda store: store.exists("k"),
    "list": lambda store: store.list(""),
    "put_new": lambda store: store.put_new("k", b"v"),
    "put_if_match": lambda store: store.put_if_match("k", b"v", None),
    "ensure_bucket": lambda store: store.ensure_bucket(),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def complaint(settings, call):
    with pytest.raises(StoreUnavailable) as error:
        call(ObjectStore(settings, PATIENCE_S))
    text = str(error.value)
    assert settings.secret_key not in text
    assert settings.endpoint_url in text
    assert repr(settings.bucket) in text
    return text


@EVERY_CALL
def test_a_dead_endpoint(settings, call):
    nowhere = replace(settings, endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert "check S3_ENDPOINT_URL and that the server runs" in complaint(nowhere, call)


@EVERY_CALL
@pytest.mark.parametrize("wrong", [{"secret_key": "wrong-secret"}, {"access_key": "stranger"}], ids=["secret", "user"])
def test_wrong_credentials(settings, call, wrong):
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in complaint(replace(settings, **wrong), call)


def check_absent_bucket(settings, name):
    text = complaint(replace(settings, bucket="absent-bucket"), CALLS[name])
    assert "create " in text
    assert "set S3_BUCKET to one that " in text


@pytest.mark.parametrize("name", ["check", "get", "list"])
def test_reading_from_an_absent_bucket(settings, name):
    check_absent_bucket(settings, name)


@pytest.mark.parametrize("name", ["put_new", "put_if_match"])
def test_writing_to_an_absent_bucket(minio, name):
    """Only on MinIO: SeaweedFS makes the bucket of whoever may make one, which is why plan_training checks it first."""
    check_absent_bucket(minio.settings, name)


def test_a_server_that_restarts_is_waited_for(minio):
    store = ObjectStore(minio.settings)
    store.put_new("restart/before", b"kept")
    minio.kill()
    waiting = threading.Event()

    def write():
        waiting.set()
        return store.put_new("restart/during", b"written"), store.get("restart/before")

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(write)
        assert waiting.wait(10)
        minio.start()
        assert answer.result(60)[1] == b"kept"
    assert store.get("restart/during") == b"written"
