"""The README, typed from top to bottom as it is printed, on the test platform;
what needs a cluster stands below its "In Kubeflow".
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.markdown import ROOT, SHELL, Block, blocks

README = list(blocks(ROOT / "README.md"))
CLUSTER = next(number for number, block in enumerate(README) if block.section == "In Kubeflow")
COMMAND_S = 900
INSTALLS = ("make ", "pip install ")
"""Lines that set up what this test runs in; tests/unit/test_pages.py looks whether their targets and extras are
there.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that has of the checkout only what the README's commands name."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def script(chosen: list[Block]) -> str:
    """Return the blocks as one shell session; those of Python are given to a Python of their own."""
    parts = []
    for block in chosen:
        if block.language in SHELL:
            parts += [line for line in block.commands.splitlines() if not line.startswith(INSTALLS)]
        elif block.language == "python":
            parts.append(f"python - <<'END_OF_PYTHON'\n{block.text}END_OF_PYTHON")
    return "\n".join(parts)


def type_in(text: str, folder: Path, env: dict[str, str]) -> str:
    """Run a shell session that ends at the first command that fails, and return what it says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | env | {"PATH": path, "FEDSTREAM_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def shape(line: str) -> str:
    """Return a line without what differs from run to run: numbers and digests."""
    return re.sub(r"[0-9a-f]{64}|\d[\d.-]*", "#", line).strip()


@pytest.mark.timeout(COMMAND_S)
def test_the_demo_runs_and_says_what_is_printed(folder: Path, platform_env: dict[str, str]) -> None:
    demo = [block for block in README[:CLUSTER] if block.section == "Two commands"]
    assert script(demo) == "fedstream demo"
    (printed,) = (block.text for block in demo if not block.language)
    said = [shape(line) for line in type_in(script(demo), folder, platform_env).splitlines()]
    starts = ("Starting", "Formatting", "Downloading")
    assert [line for line in said if not line.startswith(starts) and "report:" not in line] == [
        shape(line) for line in printed.splitlines() if not line.startswith(starts) and "report:" not in line
    ]
    assert list(folder.glob("demo-*.html"))


@pytest.mark.timeout(COMMAND_S)
def test_its_commands_compose_from_your_own_stream_to_predictions(folder: Path, platform_env: dict[str, str]) -> None:
    own = [block for block in README[:CLUSTER] if block.section not in ("Start", "Two commands")]
    assert {block.language for block in own} == {"bash", "python"}
    said = type_in(script(own), folder, platform_env)
    for expected in (
        "round 3 of 3: 2/2 clients",
        "published version 1 of tumours",
        "every global model reproduced bit for bit",
        "300 records, 300 predictions, 0 rejected",
    ):
        assert expected in said
    assert {"first.html", "tumours-1.keras"} <= {path.name for path in folder.iterdir()}
    assert not re.search("Traceback|WARNING|ERROR|[IWE]0000", said), said
    *_, accuracy = re.findall(r"metrics: accuracy ([\d.]+)", said)
    assert float(accuracy) > 0.8
