"""Links, paths, make targets and commands that the README and the docs name are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from support.markdown import PAGES, ROOT, SHELL, blocks, links, prose

from fedstream.cli.app import app

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
ROOMS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir())


def inline(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def shell(page: Path) -> str:
    return "\n".join(block.commands for block in blocks(page) if block.language in SHELL).replace("\\\n", " ")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match("[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in {anchor(heading) for heading in re.findall(r"^#+ (.+)$", target.read_text(), re.M)}, link


@pages
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    named = [name for name in inline(page) if name.startswith(ROOMS) and re.fullmatch(r"[\w./-]+", name)]
    assert not [name for name in named if not (ROOT / name.rstrip("/")).exists() and not (page.parent / name).exists()]


@pages
def test_make_targets_exist(page: Path) -> None:
    said = [
        *re.findall(r"^(make .*?)(?:#.*)?$", shell(page), re.M),
        *(text for text in inline(page) if text.startswith("make ")),
    ]
    for line in said:
        assert {word for word in line.split()[1:] if re.fullmatch("[a-z-]+", word)} <= TARGETS, line


@pages
def test_commands_of_a_block_are_understood(page: Path) -> None:
    """Each is parsed by the real command line, and not run."""
    for line in re.findall(r"^(?:.*&& |eval \"\$\()?(fedstream [^)\n]*)", shell(page), re.M):
        words = shlex.split(line.split(" && ")[0], comments=True)
        command, rest = named(words[1:])
        if not isinstance(command, typer.core.TyperGroup):
            command.make_context(" ".join(words[:2]), rest)


@pages
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    """Here a command may be cut short, so only its name and its options are looked at."""
    for text in (text for text in inline(page) if text.startswith("fedstream ")):
        command, rest = named(shlex.split(text)[1:])
        known = {flag for parameter in command.params for flag in parameter.opts} | {"--help", "--version"}
        assert {word.partition("=")[0] for word in rest if re.match("--[a-z]", word)} <= known, text


def named(words: list[str]) -> tuple[typer.core.TyperCommand | typer.core.TyperGroup, list[str]]:
    """Return the command that words name, and the words after its name."""
    command = typer.main.get_command(app)
    while isinstance(command, typer.core.TyperGroup) and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_what_a_hint_says_to_install_is_an_extra() -> None:
    """The package is on no index: it is installed from its source folder."""
    pyproject = (ROOT / "pyproject.toml").read_text()
    for path in [*PAGES, *(ROOT / "fedstream").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]:
        text = path.read_text()
        assert not re.search(r"pip install '?fedstream", text), path
        for extra in re.findall(r"pip install '\.\[([a-z]+)\]'", text) + re.findall(
            r"install_hint\('([a-z]+)'\)", text
        ):
            assert re.search(rf"^{extra} = \[", pyproject, re.M), (path, extra)
