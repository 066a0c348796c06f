"""A form entry is one line of RunSpec: all that shows the form is made from it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fedstream.components.form import COMPONENT, with_form
from fedstream.components.form import FORM as FORM_OF_COMPONENT
from fedstream.pipelines import FEDERATED_TRAINING_YAML, federated_training
from fedstream.pipelines.compile import PAGE, PIPELINES, compile_text, path_of
from fedstream.pipelines.page import form_page

from fedstream.record.form import form_of, packed_form
from fedstream.record.form_values import packed
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec

ROOT = Path(__file__).parents[3]
DEFINITION = next(yaml.safe_load_all(FEDERATED_TRAINING_YAML.read_text()))
FORM = DEFINITION["root"]["inputDefinitions"]["parameters"]

LINE = (
    '    warmth: Annotated[Literal["mild", "hot"], Entry("training", flag="--heat"), OPERATIONAL] = '
    'Field("mild", description="How it feels.")\n'
)
LINE_WITHIN = (
    '    depth: Annotated[int, Entry("data", within="data_options")] = Field(3, ge=1, description="How deep it is.")\n'
)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A copy of the packages, laid out as in a wheel, whose RunSpec has two more lines,
    one of them within an object, and all that `make compile` makes of it.
    """
    root = tmp_path_factory.mktemp("grown")
    for source, target in (
        ("fedstream", "fedstream"),
        ("components", "fedstream/components"),
        ("pipelines", "fedstream/pipelines"),
    ):
        shutil.copytree(ROOT / source, root / target, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "fedstream" / "docs").mkdir()
    spec = root / "fedstream" / "record" / "spec.py"
    head, first, rest = spec.read_text().partition('    run: Annotated[str, Entry("who"')
    assert first
    spec.write_text(head + LINE + LINE_WITHIN + first + rest)
    for module in ("components.form", "pipelines.compile"):
        done = python(root, "-m", f"fedstream.{module}", "--check")
        assert (done.returncode, "is stale; run `make compile`" in done.stderr) == (1, True), done.stderr
        done = python(root, "-m", f"fedstream.{module}")
        assert done.returncode == 0, done.stderr
    return root


def python(root, *words):
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_new_field_is_in_the_form_with_a_drop_down_and_reaches_the_component(grown):
    definition = next(yaml.safe_load_all((grown / "fedstream/pipelines/federated_training/pipeline.yaml").read_text()))
    entry = definition["root"]["inputDefinitions"]["parameters"]["warmth"]
    assert entry["literals"] == ["mild", "hot"]
    assert (entry["defaultValue"], entry["description"], entry["parameterType"]) == ("mild", "How it feels.", "STRING")
    component = definition["components"]["comp-plan-training"]["inputDefinitions"]["parameters"]["warmth"]
    assert (component["defaultValue"], component["description"]) == ("mild", "How it feels.")
    given = definition["root"]["dag"]["tasks"]["plan-training"]["inputs"]["parameters"]["warmth"]
    assert given == {"componentInputParameter": "warmth"}
    assert 'warmth: str = "mild"' in str(
        definition["deploymentSpec"]["executors"]["exec-plan-training"]["container"]["command"]
    )


def test_a_new_field_within_an_object_is_a_key_of_its_default_and_reaches_the_spec_from_there(grown):
    definition = next(yaml.safe_load_all((grown / "fedstream/pipelines/federated_training/pipeline.yaml").read_text()))
    component = definition["components"]["comp-plan-training"]
    for form, before in ((definition["root"], FORM), (component, [field.name for field in FORM_OF_COMPONENT])):
        parameters = form["inputDefinitions"]["parameters"]
        assert parameters.keys() == {*before, "warmth"}
        assert parameters["data_options"]["defaultValue"] == FORM["data_options"]["defaultValue"] | {"depth": 3}
        assert "depth: How deep it is." in " ".join(parameters["data_options"]["description"].split())
    code = """
from fedstream.errors import SpecError
from fedstream.record.spec import parse_spec
values = {"run": "r", "model": "m"}
print(parse_spec(values | {"data_options": {"depth": 5}}).depth, parse_spec(values | {"data_options": {}}).depth)
try:
    parse_spec(values | {"data_options": {"depth": 0}})
except SpecError as error:
    print(error)
"""
    done = python(grown, "-c", code)
    assert done.stdout == "5 3\ndata_options.depth: Input should be greater than or equal to 1 (given: 0)\n", (
        done.stderr
    )


def test_a_new_field_is_an_option_of_the_command_line(grown):
    for command in ("run", "submit"):
        done = python(grown, "-m", "fedstream.cli", command, "--help")
        for group, option, what in (("Training", "--heat", "How it feels."), ("Data", "--depth", "How deep it is.")):
            panel = done.stdout.partition(f"─ {group} ─")[2].partition("╰")[0]
            assert option in panel, done.stdout + done.stderr
            assert what in panel


def test_a_new_field_is_in_the_docs_and_in_the_report(grown):
    page = (grown / "fedstream/docs/form.md").read_text()
    training = page.partition("## Training\n")[2].partition("\n## ")[0]
    assert '| `warmth`* | `--heat` | `"mild"` | How it feels. One of `mild`, `hot`. |' in training
    data = page.partition("## Data\n")[2].partition("\n## ")[0]
    assert "| `depth` in `data_options` | `--depth` | `3` | How deep it is. |" in data
    code = """
import json
from fedstream.record.spec import parse_spec
from fedstream.report.html import _command, _settings
spec = parse_spec({"run": "r", "model": "m", "warmth": "hot"})
print(json.dumps([dict(_settings(spec))["training"], _command(spec)]))
"""
    done = python(grown, "-c", code)
    assert done.returncode == 0, done.stderr
    settings, command = json.loads(done.stdout)
    assert ["warmth", "hot", "How it feels."] in settings
    assert "--heat hot" in command


def test_a_new_operational_field_may_change(grown):
    code = """
from fedstream.record.operational import operational
from fedstream.record.spec import carried_out, changed_field, parse_spec
old, new = (parse_spec({"run": "r", "model": "m", "warmth": warmth}) for warmth in ("mild", "hot"))
print(changed_field(old, new) == "", carried_out(old, operational(new)) == new)
"""
    assert python(grown, "-c", code).stdout.split() == ["True", "True"]


def test_what_is_made_is_current():
    assert COMPONENT.read_text() == with_form(COMPONENT.read_text(), FORM_OF_COMPONENT)
    assert PAGE.read_text() == form_page(form_of(RunSpec, PipelineOptions))
    assert all(path_of(name).read_text() == compile_text(pipeline) for name, pipeline in PIPELINES.items())


def test_a_page_of_the_form_has_no_more_entries_than_a_person_looks_through():
    assert FORM.keys() == {field.name for field in packed_form(RunSpec, PipelineOptions)}
    assert len(FORM) <= 32
    assert all(parameter["description"] for parameter in FORM.values())


def test_an_object_s_default_shows_its_keys():
    spec = RunSpec(run="r", model="m")
    assert FORM["placement"]["defaultValue"].keys() == spec.placement.model_dump().keys()
    options = ("data_options", "training_options", "aggregation_options")
    assert {name: FORM[name]["defaultValue"] for name in options} == {name: packed(spec)[name] for name in options}
    assert all(FORM[name]["parameterType"] == "STRUCT" for name in options)


def test_no_task_is_cached():
    for component in [DEFINITION["root"], *DEFINITION["components"].values()]:
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            if "loop" not in name and "condition" not in name:
                assert not task.get("cachingOptions", {}).get("enableCache"), name


def test_the_run_has_a_deadline_and_no_secret_is_in_the_yaml():
    text = FEDERATED_TRAINING_YAML.read_text()
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "password:" not in text.lower()
    assert federated_training.name == "federated-training"
