import os
import sys
from collections.abc import Iterator

import pytest
from support.fake_kubeflow import FakeKubeflow
from support.submitting import RUN

from fedstream.cli.app import main
from fedstream.kubeflow import calls, following

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
    monkeypatch.setattr(calls, "PATIENCE_S", 2.0)
    monkeypatch.setattr(calls, "CHECK_S", 0.3)


@pytest.fixture
def kubeflow(nowhere) -> Iterator[FakeKubeflow]:
    with FakeKubeflow().running() as server:
        yield server


@pytest.fixture
def submit(monkeypatch, capsys, kubeflow):
    """Run the command against the fake; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kubeflow.url)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fedstream", *RUN, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
