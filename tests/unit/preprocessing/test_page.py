"""The examples of docs/preprocessing.md and docs/statistics.md work."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.markdown import ROOT, blocks

from fedstream.preprocessing.transform import resolve
from fedstream.record.preprocessing import Preprocessing, Step
from fedstream.record.statistics import Statistics

PREPROCESSING, STATISTICS = ROOT / "docs/preprocessing.md", ROOT / "docs/statistics.md"
DECLARED = [json.loads(block.text) for block in blocks(PREPROCESSING) if block.language == "json"]


@pytest.mark.parametrize("declared", DECLARED)
def test_each_declaration_is_valid(declared: dict[str, object]) -> None:
    assert Preprocessing.model_validate(declared) != Preprocessing()


def test_the_first_example_fits_the_model_that_the_page_names() -> None:
    names = ["age", "glucose", "ward", "smoker", "beds"]
    assert resolve(Preprocessing.model_validate(DECLARED[0]), (5,), names).shape == (7,)


def test_every_step_is_on_the_page() -> None:
    text = PREPROCESSING.read_text(encoding="utf-8")
    kinds = Step.__origin__.__args__  # type: ignore[attr-defined]
    for kind in kinds:
        (name,) = kind.model_fields["step"].annotation.__args__
        assert f"| `{name}` |" in text


def test_the_noise_of_the_page_is_valid() -> None:
    (declared,) = (json.loads(block.text) for block in blocks(STATISTICS) if block.language == "json")
    assert Statistics.model_validate(declared).noise_multiplier == 2


def test_the_example_in_python_runs() -> None:
    (example,) = (block for block in blocks(PREPROCESSING) if block.language == "python")
    done = subprocess.run([sys.executable, "-c", example.text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.removeprefix("accuracy ")) > 0.5
