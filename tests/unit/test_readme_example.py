"""The README's simulation without servers: it runs as printed, says what is printed, and needs no TensorFlow."""

from __future__ import annotations

import subprocess
import sys

from support.markdown import ROOT, blocks

SECTION = "Start"
FOREIGN = ("tensorflow", "keras", "kafka", "kfp", "kubernetes")


def test_the_example_says_what_is_printed_below_it() -> None:
    _, example, printed = (block for block in blocks(ROOT / "README.md") if block.section == SECTION)
    assert (example.language, printed.language) == ("python", "")
    code = f"{example.text}\nimport sys\nprint([name for name in {FOREIGN} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *said, imported = done.stdout.splitlines()
    assert said == printed.text.splitlines()
    assert imported == "[]"
    assert not done.stderr


def test_it_is_short_and_stands_on_the_first_screen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands, example, _ = (block for block in blocks(ROOT / "README.md") if block.section == SECTION)
    assert commands.commands.splitlines() == ["make demo", "make test"]
    assert len([line for line in example.text.splitlines() if line]) <= 10
    assert text.splitlines().index("import fedstream") < 30
