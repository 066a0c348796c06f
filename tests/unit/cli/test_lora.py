"""`fedstream model add --lora-rank` and `fedstream.add_model(..., lora_rank=...)`, with a store in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fedstream
from fedstream.cli.model import model_app
from fedstream.errors import ModelError, UsageError
from fedstream.model._tensorflow import keras
from fedstream.model.files import save_keras
from fedstream.record.exchange import is_adapter
from fedstream.store.memory import MemoryStore
from fedstream.store.objects import ObjectStore


def network() -> Any:
    layers = keras().layers
    model = keras().Sequential([keras().Input((4,)), layers.Dense(8, name="wide"), layers.Dense(2, name="narrow")])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    store, file = MemoryStore(), tmp_path / "m.keras"
    monkeypatch.setattr(ObjectStore, "from_env", lambda: store)
    file.write_bytes(save_keras(network()))

    def invoke(*words: str) -> list[str]:
        done = CliRunner().invoke(
            model_app, ["add", str(file), "--name", "mine", *words, "--json"], catch_exceptions=False
        )
        return [variable["name"] for variable in json.loads(done.stdout)["variables"] if is_adapter(variable["name"])]

    return invoke


def test_the_command_adds_adapters(add: Any) -> None:
    assert len(add("--lora-rank", "2")) == 4
    assert add("--lora-rank", "2", "--lora-layers", "narrow") == ["narrow/lora_kernel_a", "narrow/lora_kernel_b"]
    assert add() == []


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--lora-rank", "0"], UsageError, "the rank of LoRA adapters is 0, expected 1 to 1,024"),
        (
            ["--lora-rank", "2", "--lora-layers", "deep"],
            ModelError,
            "'deep' matches no layer that supports LoRA; those",
        ),
        (["--lora-layers", "wide"], UsageError, "--lora-layers says which layers have LoRA adapters; give their rank"),
    ],
)
def test_wrong_options_are_one_line(add: Any, words: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        add(*words)
    assert said in str(caught.value)


def test_python_adds_adapters_to_a_model_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectStore, "from_env", MemoryStore)
    description = fedstream.add_model(network(), "mine", lora_rank=2, lora_layers="wide")
    assert [v.name for v in description.variables if is_adapter(v.name)] == ["wide/lora_kernel_a", "wide/lora_kernel_b"]
    with pytest.raises(UsageError, match="the rank of LoRA adapters is -1"):
        fedstream.add_model(network(), "mine", lora_rank=-1)
