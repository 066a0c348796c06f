"""The components: thin, uniform, and what their folders promise."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from fedstream import components, steps
from fedstream.record.form import packed_form
from fedstream.record.spec import RunSpec

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("components/*/component.py"))
NAMES = [folder.name for folder in FOLDERS]


def test_there_is_one_component_for_every_step():
    assert NAMES == sorted(components.__all__) == sorted(steps.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_only_imports_the_steps_and_calls_one(name):
    source = (ROOT / "components" / name / "component.py").read_text()
    (function,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    _, imported, *values, returned = function.body
    assert ast.unparse(imported) == "from fedstream import steps"
    assert isinstance(returned, ast.Return)
    assert ast.unparse(returned.value.func) == f"steps.{name}"
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and "steps" in ast.unparse(node.func)
    ]
    assert calls == [f"steps.{name}"]
    assert len(values) == (1 if name == "plan_training" else 0)


class Artifact:
    """Stands for an output artifact: a step is given the artifact, or its path."""

    path = "path of an artifact"


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_called_with_the_component_s_values_under_their_own_names(name, monkeypatch):
    heard = []
    function, step = getattr(components, name).python_func, inspect.signature(getattr(steps, name))
    monkeypatch.setattr(
        steps, name, lambda *values, **named: heard.append(step.bind(*values, **named).arguments) or "done"
    )
    plain = {parameter: f"value of {parameter}" for parameter in getattr(components, name).component_spec.inputs}
    artifacts = {
        parameter: Artifact() for parameter in inspect.signature(function).parameters if parameter not in plain
    }
    assert function(**plain, **artifacts) == "done"
    (arguments,) = heard
    form = arguments.pop("values", {})
    assert form == {field.name: plain[field.name] for field in (packed_form(RunSpec) if form else ())}
    assert arguments.keys() - plain.keys() == {
        argument for argument in step.parameters if argument not in (*plain, "values")
    }
    for argument, value in arguments.items():
        assert value == plain[argument] if argument in plain else value in (Artifact.path, *artifacts.values()), (
            argument
        )


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_the_folder_says_what_the_component_is(folder):
    about = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert about["name"] == folder.name
    assert about["stability"] in ("alpha", "beta", "stable")
    assert {"name": "Pipelines", "version": ">=2.15.0"} in about["dependencies"]["kubeflow"]
    assert about["dependencies"]["external_services"]
    assert about["tags"]
    assert about["lastVerified"]
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# {folder.name}\n")
    assert f"from fedstream.components import {folder.name}" in readme


@pytest.mark.parametrize("page", sorted((ROOT / "components").glob("*/README.md")), ids=lambda path: path.parent.name)
def test_what_a_page_links_to_exists(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_pin_is_within_the_package_s_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for extra in project["optional-dependencies"].values() for line in extra]
    ranges = [Requirement(line) for line in [*project["dependencies"], *optional]]
    pins = [
        Requirement(line)
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pinned = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    assert all(re.fullmatch(r"==[0-9][^,]*", str(pin.specifier)) for pin in pins)
    alternatives = {Requirement(line).name for line in project["optional-dependencies"]["confluent"]}
    assert pinned.keys() == {wanted.name for wanted in ranges} - alternatives
    for wanted in ranges:
        assert wanted.name in alternatives or wanted.specifier.contains(pinned[wanted.name]), wanted
