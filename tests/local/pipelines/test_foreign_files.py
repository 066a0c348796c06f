"""The runner and its steps never execute files of the current folder;
a model's own module is looked for there on purpose.
"""

import os
import sys

import pytest

from fedstream.errors import FedstreamError
from fedstream.local.launch import run_pipeline
from fedstream.model.source import load_callable
from fedstream.record.form_values import packed
from fedstream.record.spec import RunSpec

NAMES = ("html", "json", "random", "numpy", "fedstream", "sitecustomize")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder full of modules with names of Python's own, each of which leaves a mark when it is run."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / name)!r}, 'w').close()\nraise SystemExit('{name}.py of the current folder ran')\n"
        )
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("KAFKA_", "S3_", "AWS_"))]:
        monkeypatch.delenv(name)
    return folder


def test_modules_of_the_current_folder_are_not_run(folder, tmp_path):
    values = packed(RunSpec(run="r", model="builtin:digits-mlp"))
    with pytest.raises(FedstreamError, match="environment variable S3_ENDPOINT_URL is not set"):
        run_pipeline({**values, "node_budget": 1000}, tmp_path / "log")
    assert [name for name in NAMES if (tmp_path / name).exists()] == []


def test_a_model_s_module_is_looked_for_in_the_current_folder(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "my_own_models.py").write_text("def build():\n    return 'built'\n")
    assert load_callable("my_own_models:build")() == "built"
