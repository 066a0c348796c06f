"""A published model: one short run, made once for all tests of serving."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support.data import blobs, send_clients

from fedstream.local.inprocess import run_inprocess
from fedstream.serving.inference import Streams
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore
from fedstream.stream.send import send_dataset

MODEL = "builtin:digits-mlp"


@dataclass(frozen=True)
class Published:
    """A finished run, in a prefix of its own.

    Attributes:
        env: where it is.
        spec: of the run, which has one round.
    """

    env: dict[str, str]
    spec: dict[str, Any]

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(StoreSettings.from_env(self.env))


@pytest.fixture(scope="session")
def origin(platform: Any) -> Published:
    evaluation = f"held-{uuid.uuid4().hex[:6]}"
    send_dataset(platform.kafka, evaluation, evaluation, *blobs(9, 30))
    clients = send_clients(platform.kafka)
    spec = {
        "run": "r",
        "model": MODEL,
        "clients": clients,
        "rounds": 1,
        "batch_size": 10,
        "evaluation_topic": evaluation,
    }
    made = Published(platform.env | {"S3_PREFIX": f"test-{uuid.uuid4().hex[:12]}/"}, spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.env.items():
            patch.setenv(name, value)
        assert run_inprocess(spec) == 1
    return made


@pytest.fixture
def published(origin: Published, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Return a copy of the run that a test may go on with; the environment names it."""
    copy = Published(origin.env | {"S3_PREFIX": f"test-{uuid.uuid4().hex[:12]}/"}, origin.spec)
    for info in origin.store.list(""):
        copy.store.put_new(info.key, origin.store.get(info.key))
    for name, value in copy.env.items():
        monkeypatch.setenv(name, value)
    return copy


@pytest.fixture
def publish_next(published: Published) -> Callable[[], int]:
    """Return a function that trains another round and publishes it."""
    rounds = iter(range(2, 100))
    return lambda: run_inprocess(published.spec | {"rounds": next(rounds)})


@pytest.fixture
def streams(topic: str) -> Streams:
    return Streams(topic, f"{topic}-out", f"{topic}-bad", f"{topic}-group")
