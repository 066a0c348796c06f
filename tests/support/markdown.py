"""What the pages of the repository show: code blocks and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
SHELL = ("bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        section: the heading of second order that it stands below.
        language: as named after the fence.
        text: what stands between the fences.
    """

    section: str
    language: str
    text: str

    @property
    def commands(self) -> str:
        """The shell lines that are typed: all of a bash block, and what follows the prompt of a console block."""
        if self.language == "bash":
            return self.text
        prompted = re.findall(r"^\$ (.*(?:\\\n.*)*)$", self.text, re.M)
        return "\n".join(prompted)


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page, from top to bottom."""
    section = ""
    for heading, indent, language, text in re.findall(
        r"^## ([^\n]+)$|^( *)```(\w*)\n(.*?)^ *```$", page.read_text(), re.M | re.S
    ):
        if heading:
            section = heading
        else:
            yield Block(section, language, re.sub(f"^{indent}", "", text, flags=re.M))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))
