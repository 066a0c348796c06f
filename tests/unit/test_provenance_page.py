"""The examples in docs/provenance.md: the commands say what is printed below them."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
from support.markdown import ROOT, blocks

from fedstream.cli.app import main


def shape(text: str) -> list[str]:
    """Return the lines without what differs between processors: digests and metrics."""
    return [re.sub(r"[0-9a-f]{64}|0\.\d{4}|1\.\d{4}", "#", line).rstrip() for line in text.splitlines()]


def test_the_commands_say_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    console, code, printed, _ = blocks(ROOT / "docs" / "provenance.md")
    for said in console.text.split("$ ")[1:]:
        command, _, expected = said.partition("\n")
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert shape(capsys.readouterr().out) == shape(expected)
    assert (tmp_path / "withdrawn.html").is_file()
    exec(code.text, {})
    assert capsys.readouterr().out == printed.text
