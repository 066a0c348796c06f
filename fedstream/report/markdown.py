"""Tables in Markdown, of texts that anyone can have written."""

from __future__ import annotations

from collections.abc import Sequence

from fedstream.text import markdown, markdown_code


class _Markdown(str):
    """Text that is already Markdown; all other text in a table is escaped."""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; cells that are not the result of `code` are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [cell if isinstance(cell, _Markdown) else markdown(str(cell)) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def code(text: str) -> _Markdown:
    """Format a text from outside as inline code that nothing in the text can close."""
    return _Markdown(markdown_code(text))
