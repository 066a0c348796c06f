"""Inputs of the compiled pipeline's parts. kfp.local runs a part that misses one, the backend does not.

kfp 2.17's compiler drops an input of a part of a loop whose name occurs in the name of what it loops over, such as
`run` in `plan-run-Output`.
"""

from typing import Any

import pytest
import yaml
from fedstream.pipelines.compile import path_of

PIPELINE = next(yaml.safe_load_all(path_of("federated_training").read_text()))
PARTS = {name: part for name, part in [*PIPELINE["components"].items(), ("root", PIPELINE["root"])] if "dag" in part}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_declares_every_input_that_its_tasks_take(name: str) -> None:
    declared = PARTS[name].get("inputDefinitions", {}).get("parameters", {}).keys()

    assert _taken(PARTS[name]["dag"]["tasks"]) - declared == set()


@pytest.mark.parametrize("name", PARTS)
def test_a_task_is_given_every_input_that_it_declares(name: str) -> None:
    for task in PARTS[name]["dag"]["tasks"].values():
        declared = (
            PIPELINE["components"][task["componentRef"]["name"]].get("inputDefinitions", {}).get("parameters", {})
        )
        wanted = {
            parameter
            for parameter, definition in declared.items()
            if not definition.get("isOptional") and "defaultValue" not in definition
        }
        loop = task.get("parameterIterator", {}).get("itemInput")
        assert wanted - task.get("inputs", {}).get("parameters", {}).keys() - {loop} == set()


def _taken(value: Any) -> set[str]:
    """Return the names of all inputs of the part that are used somewhere below."""
    if isinstance(value, list):
        return set().union(*map(_taken, value))
    if not isinstance(value, dict):
        return set()
    own = {value["componentInputParameter"]} if "componentInputParameter" in value else set()
    return own.union(*map(_taken, value.values()))
