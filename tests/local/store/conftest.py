"""The store's tests run on two servers: the embedded SeaweedFS, and a real MinIO where one is installed."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.minio import MinioServer, find_minio

from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    find_minio()
    server = MinioServer(tmp_path_factory.mktemp("minio"), bound=True, say=print)
    try:
        server.start()
        ObjectStore(server.settings).ensure_bucket()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["seaweedfs", "minio"])
def server(request: pytest.FixtureRequest) -> StoreSettings:
    """Return how to reach each of the two servers in turn."""
    if request.param == "minio":
        return request.getfixturevalue("minio").settings
    return request.getfixturevalue("platform").store


@pytest.fixture
def settings(server: StoreSettings) -> StoreSettings:
    """Return settings below which no other test has objects."""
    return replace(server, prefix=f"test-{uuid.uuid4().hex[:12]}/")


@pytest.fixture
def store(settings: StoreSettings) -> ObjectStore:
    return ObjectStore(settings)
