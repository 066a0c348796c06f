"""The command line, run in this process: a process of its own costs a second or two.
And one secured broker for all tests that need one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.secured import SecuredKafka, TokenServer

from fedstream.cli.app import main


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, out of sight of the platform that the user may be running."""
    monkeypatch.setenv("FEDSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["fedstream", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def secured_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Return a secured broker with two data owners. A test may kill it: use `secured_kafka`."""
    owners = ["hospital-a", "hospital-b"]
    running = SecuredKafka(tmp_path_factory.mktemp("secured"), bound=True, say=print, owners=owners)
    with TokenServer().running() as tokens:
        running.tokens = tokens
        running.start()
        yield running
        running.stop()


@pytest.fixture
def secured_kafka(secured_server: SecuredKafka) -> SecuredKafka:
    if not secured_server.running:
        secured_server.start()
    return secured_server
