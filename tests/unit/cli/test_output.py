"""What goes to a file or another program is never cut or folded, and holds no control characters."""

import io
import json

import pytest
from rich.console import Console

from fedstream.cli import output


@pytest.fixture
def printed(monkeypatch):
    """Catch what is printed on a console that is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=file, width=output.UNFOLDED))
    monkeypatch.setattr(output, "err", Console(file=file, width=output.UNFOLDED))
    return file


def test_a_wide_table_keeps_each_row_on_a_line(printed):
    output.print_table("t", ["name", "number", "reason"], [["a" * 90, 1234, "b " * 40], ["c", 5, "[red]d[/]"]])
    lines = printed.getvalue().splitlines()
    assert len(lines) == 7
    assert "a" * 90 in lines[4]
    assert "1,234" in lines[4]
    assert "[red]d[/]" in lines[5]


def test_a_terminal_is_not_written_over_its_edge(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=file, width=60, force_terminal=True, color_system=None))
    output.print_table("t", ["name", "reason"], [["a" * 90, "b"]])
    assert max(map(len, file.getvalue().splitlines())) <= 60


def test_control_characters_are_shown_and_not_obeyed(printed):
    output.print_table("t", ["name"], [["\x1b[2J"], ["\ud800"]])
    assert "\\x1b[2J" in printed.getvalue()
    assert "\\ud800" in printed.getvalue()


def test_an_error_is_one_line_however_long_and_whatever_brackets_it_holds(printed):
    output.print_error("[bold]x[/] " + "word " * 60)
    assert printed.getvalue() == "error: [bold]x[/] " + "word " * 60 + "\n"


def test_a_json_document_survives_any_output_encoding(capsys):
    output.print_json({"name": "ü\ud800"})
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"name": "ü\ud800"}


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(output.UsageError, match=r"cannot write '.*none/file': No such file or directory"):
        output.write_file(tmp_path / "none" / "file", b"")
