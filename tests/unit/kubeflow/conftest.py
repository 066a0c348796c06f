import os
from collections.abc import Iterator

import pytest
from support.fake_kubeflow import FakeKubeflow

from fedstream.kubeflow import api, following

SERVERS = ("KAFKA_", "S3_", "AWS_", "KF", "KUBE")


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An environment that names no server, and short patience."""
    for name in [name for name in os.environ if name.startswith(SERVERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(following, "POLL_S", 0.01)
    monkeypatch.setattr(following, "LOOK_S", 0.0)
    monkeypatch.setattr(api, "PATIENCE_S", 2.0)
    monkeypatch.setattr(api, "CHECK_S", 0.3)


@pytest.fixture
def kubeflow(nowhere) -> Iterator[FakeKubeflow]:
    with FakeKubeflow().running() as server:
        yield server
