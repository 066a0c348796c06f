from collections.abc import Iterator

import pytest
from support.fake_kubeflow import FakeKubeflow

from fedstream.kubeflow import api, kube, submission

SERVERS = ("KAFKA_", "S3_", "AWS_", "KF", "KUBE")


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An environment that names no server, and short patience."""
    import os

    for name in [name for name in os.environ if name.startswith(SERVERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(submission, "POLL_S", 0.01)
    monkeypatch.setattr(api, "PATIENCE_S", 2.0)
    monkeypatch.setattr(api, "CHECK_S", 0.3)
    monkeypatch.setattr(api, "TIMEOUT", (1, 1))
    monkeypatch.setattr(kube, "TIMEOUT", (1, 1))


@pytest.fixture
def kubeflow(nowhere) -> Iterator[FakeKubeflow]:
    with FakeKubeflow().running() as server:
        yield server
