"""Text and numbers formatted for people. Pure; every text from outside passes through `clean` before it is shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

SPANS = 12
"""Number of spans that are listed; the rest are only counted."""


def clean(text: str) -> str:
    """Replace characters that could break or disguise a page.

    These are control characters, lone surrogates and direction overrides.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\n\t" else char
        for char in text
    )


def markdown(text: str) -> str:
    """Escape everything that Markdown or HTML would read as markup.

    This covers headings, links, images, scripts and the end of a table cell.
    """
    escaped = "".join(f"\\{char}" if char in "\\`*_[]!|#~" else char for char in clean(text).replace("\n", " "))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: str) -> str:
    """Format a text as inline code that nothing in the text can close."""
    return "`" + clean(text).replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"


def one_line(text: str, longest: int = 500) -> str:
    """Format a text from outside as one line of at most `longest` characters, without terminal control sequences."""
    plain = clean(" ".join(text.split()))
    return plain if len(plain) <= longest else f"{plain[:longest]}…"


def spans(numbers: Iterable[int]) -> str:
    """Format numbers as spans: 1, 2, 3, 7 becomes `1–3, 7`."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    said = [f"{first}–{last}" if last > first else str(first) for first, last in found]
    return ", ".join(said[:SPANS]) + (f" and {len(said) - SPANS} more" if len(said) > SPANS else "")


def capital(text: str) -> str:
    """Capitalize the first letter and leave the rest unchanged."""
    return f"{text[:1].upper()}{text[1:]}"


def score(value: float) -> str:
    """Format the value of a metric."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 client`, `1,200 records`."""
    plural = noun if number == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {plural}"


def size(count: float) -> str:
    """Format a number of bytes: `512 B`, `24.3 KiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def duration(seconds: float) -> str:
    """Format a duration with its two largest units."""
    whole = int(seconds)
    for size, big, small, part in ((86_400, "d", "h", 3_600), (3_600, "h", "min", 60), (60, "min", "s", 1)):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // part} {small}"
    return f"{whole} s"
