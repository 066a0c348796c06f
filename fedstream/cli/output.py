"""The output of commands: text or one JSON document on standard output, and everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedstream.errors import UsageError

UNFOLDED = 10_000
"""Width in columns when writing to a file or a pipe, so that lines are not wrapped and can be searched and copied."""

err = Console(stderr=True, width=None if sys.stderr.isatty() else UNFOLDED)
out = Console(width=None if sys.stdout.isatty() else UNFOLDED)


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def print_error(what: str) -> None:
    """Print an error on standard error, without wrapping, so that it can be searched and copied."""
    err.print("[bold red]error:[/]", end=" ")
    err.print(what, markup=False, highlight=False, soft_wrap=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file to a path that the user has chosen.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from error


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output, with numbers aligned to the right."""
    table = Table(title=Text(title), title_justify="left")
    for index, column in enumerate(columns):
        values = [row[index] for row in rows if row[index] != ""]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(Text(_cell(column)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(_cell(value)) for value in row])
    out.print(table)


def print_warnings(lines: Sequence[str], shown: int = 20) -> None:
    """Print lines on standard output in yellow, without markup; lines after the first `shown` are only counted."""
    for line in lines[:shown]:
        out.print(Text(f"  {line}", style="yellow"), soft_wrap=True)
    if len(lines) > shown:
        out.print(Text(f"  and {len(lines) - shown} more; --json lists them all", style="yellow"), soft_wrap=True)


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Format metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _cell(value: object) -> str:
    text = (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else f"{value:.4f}"
        if isinstance(value, float)
        else str(value)
    )
    return text if text.isprintable() else repr(text)[1:-1]
