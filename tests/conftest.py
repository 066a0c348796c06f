"""Fixtures of the tests: one real Kafka and one real S3 store per session,
started when the first test asks for them.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedstream.local.platform import Platform
from fedstream.settings import KafkaSettings, StoreSettings
from fedstream.store.objects import ObjectStore


def pytest_configure() -> None:
    """Heed Ctrl-C again: a shell's background job ignores it, and so would every process that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class TestPlatform:
    """The servers that the tests share: the embedded ones, or those that the environment names.

    Never stop one in a test.
    """

    __test__ = False

    kafka: KafkaSettings
    store: StoreSettings
    env: dict[str, str]
    state_dir: Path


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPlatform]:
    folder = tmp_path_factory.mktemp("platform")
    with Platform(folder) as running:
        yield TestPlatform(running.kafka_settings, running.store_settings, running.env, folder)


@pytest.fixture
def kafka(platform: TestPlatform) -> KafkaSettings:
    return platform.kafka


@pytest.fixture
def topic() -> str:
    """Return the name of a topic that does not exist yet; Kafka makes it on first use."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def store(platform: TestPlatform) -> ObjectStore:
    """Return a store that sees no other test's objects."""
    return ObjectStore(replace(platform.store, prefix=fresh_prefix()))


@pytest.fixture
def platform_env(platform: TestPlatform, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the environment variables of the platform, with an S3 prefix of this test's own, and return them."""
    env = platform.env | {"S3_PREFIX": fresh_prefix()}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def fresh_prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}/"
