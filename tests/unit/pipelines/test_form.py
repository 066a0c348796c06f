"""The form, the command line and the spec say the same."""

import yaml
from docstring_parser import parse
from fedstream.components import plan_training
from fedstream.pipelines import FEDERATED_TRAINING_YAML, federated_training
from fedstream.pipelines.compile import CHOICES, PIPELINES, compile_text, path_of

from fedstream.record.spec import RunSpec

DEFINITION = next(yaml.safe_load_all(FEDERATED_TRAINING_YAML.read_text()))
FORM = DEFINITION["root"]["inputDefinitions"]["parameters"]


def plain(default):
    return default.model_dump(exclude_defaults=True) if hasattr(default, "model_dump") else default


def test_the_compiled_yaml_is_current():
    assert all(path_of(name).read_text() == compile_text(pipeline) for name, pipeline in PIPELINES.items())


def test_the_form_has_every_field_of_the_spec_with_its_default_and_description():
    for name, field in RunSpec.model_fields.items():
        assert FORM[name]["description"] == field.description, name
        if not field.is_required():
            assert FORM[name]["defaultValue"] == plain(field.default), name


def test_component_and_pipeline_describe_the_same_parameters():
    said = {parameter.arg_name: parameter.description for parameter in parse(plan_training.python_func.__doc__).params}
    assert all(said[name] == field.description for name, field in RunSpec.model_fields.items())


def test_every_form_value_is_described():
    assert all(parameter.get("description") for parameter in FORM.values())
    assert set(FORM) - set(RunSpec.model_fields) == {"node_budget", "memory", "config_map", "store_secret", "client_store_secret", "kafka_secret"}


def test_choices_are_drop_downs():
    assert {name: FORM[name]["literals"] for name in CHOICES} == CHOICES


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
