"""The order of a round's steps: the compiled pipeline has it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fedstream.steps.rounds import CLIENT, ROUND, RUN, run_round

YAML = Path(__file__).parents[3] / "pipelines" / "federated_training" / "pipeline.yaml"


class Recorder:
    """Steps that only say that they were called."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def select_clients(self) -> list[str]:
        self.said.append("select_clients")
        return ["a", "b"]

    def client(self, client: str) -> str:
        self.said.append(client)
        return f"{client} is done"

    def aggregate(self, trained: Any) -> None:
        self.said.append(("aggregate", list(trained)))

    def evaluate(self) -> None:
        self.said.append("evaluate")


def compiled_order(pipeline: dict[str, Any], tasks: dict[str, Any]) -> list[str]:
    """Return the components of tasks in an order that their dependencies allow,
    with those of nested loops and pipelines in their place.
    """
    order: list[str] = []
    left = dict(tasks)
    while left:
        ready = sorted(name for name, task in left.items() if not set(task.get("dependentTasks", [])) & left.keys())
        for name in ready:
            component = pipeline["components"][left.pop(name)["componentRef"]["name"]]
            order += (
                compiled_order(pipeline, component["dag"]["tasks"]) if "dag" in component else [name.replace("-", "_")]
            )
    return order


def test_the_compiled_pipeline_runs_the_steps_in_this_order() -> None:
    pipeline = next(yaml.safe_load_all(YAML.read_text()))
    assert compiled_order(pipeline, pipeline["root"]["dag"]["tasks"]) == list(RUN)


def test_clients_wait_for_nobody_but_their_own_steps() -> None:
    pipeline = next(yaml.safe_load_all(YAML.read_text()))
    (loop,) = [
        part["dag"]["tasks"]
        for part in pipeline["components"].values()
        if "local-train" in part.get("dag", {}).get("tasks", {})
    ]
    assert compiled_order(pipeline, loop) == list(CLIENT)


def test_a_round_is_run_in_this_order() -> None:
    steps = Recorder()
    run_round(steps)
    assert steps.said == ["select_clients", "a", "b", ("aggregate", ["a is done", "b is done"]), "evaluate"]
    assert ROUND[0] == "select_clients"
    assert ROUND[-2:] == ("aggregate", "evaluate")
