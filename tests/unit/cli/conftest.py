"""The command line, run in this process and in an empty folder."""

from __future__ import annotations

import sys

import pytest

from fedstream.cli.app import main


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder, and return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedstream", *line.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
