"""The options of `fedstream run` are the fields of RunSpec, and say the same."""

import json

import pytest
import typer
from typer.testing import CliRunner

from fedstream.cli.options import RENAMED, parse_document, with_spec_options
from fedstream.errors import UsageError
from fedstream.record.spec import RunSpec, parse_spec

REQUIRED = ["--name", "r", "--model", "m"]


def flag(name):
    return RENAMED.get(name, f"--{name.replace('_', '-')}")


def given(*words):
    """Return the form values that a command receives, and its own option."""
    app = typer.Typer()
    heard = []

    @app.command()
    @with_spec_options
    def command(spec: dict, loud: bool = False) -> None:
        """Do it."""
        heard.extend([spec, loud])

    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return heard or done.output


def test_without_options_a_run_has_the_defaults_of_the_spec():
    spec, loud = given(*REQUIRED)
    assert spec.keys() == RunSpec.model_fields.keys()
    assert parse_spec(spec) == RunSpec(run="r", model="m")
    assert loud is False


def test_every_field_has_an_option_with_its_description():
    said = " ".join(given("--help").replace("│", " ").split())
    for name, field in RunSpec.model_fields.items():
        assert flag(name) in said
        assert " ".join(field.description.split()[:6]) in said


def test_every_option_reaches_its_field():
    words = {
        "clients": "b, a,",
        "data_restriction": '{"k": 1}',
        "sites": '{"a": {"bootstrap_servers": "x:1"}}',
        "strategy_config": '{"beta": 0.2}',
        "placement": '{"gpu_type": "g", "gpu_count": 2}',
    }
    words |= {"rounds": "3", "epochs": "4", "batch_size": "5", "learning_rate": "0.5", "client_fraction": "0.5", "seed": "6", "min_clients": "2"}
    words |= {"min_data": "7", "validation_rate": "0.2", "target_metric": "loss", "target_value": "0.9", "patience": "8", "threads": "1"}
    words |= {"evaluation_topic": "held", "round_deadline_s": "9.5", "strategy": "FedAvg", "gpu_memory_mib": "4096"}
    words |= {"purpose": "Triage", "slices": "all", "outlier_bound": "4.5", "publish": "if-better"}
    flags = {"mixed_precision", "cpu_fallback", "own_topics", "baseline"}
    assert words.keys() | flags | {"run", "model"} == RunSpec.model_fields.keys()
    spec, loud = given(*REQUIRED, "--loud", *map(flag, sorted(flags)), *(word for name, value in words.items() for word in (flag(name), value)))
    document = parse_spec(spec).model_dump(mode="json")
    assert loud
    assert all(document[name] is True for name in flags)
    assert document["clients"] == ["a", "b"]
    assert document["data_restriction"] == {"k": 1}
    assert document["strategy_config"] == {"beta": 0.2}
    assert document["sites"]["a"]["bootstrap_servers"] == "x:1"
    assert (document["placement"]["gpu_type"], document["placement"]["gpu_count"]) == ("g", 2)
    for name in words.keys() - {"clients", "data_restriction", "strategy_config", "sites", "placement"}:
        assert str(document[name]) == words[name], name


@pytest.mark.parametrize("missing", ["--name", "--model"])
def test_a_run_needs_a_name_and_a_model(missing):
    words = [word for word in zip(REQUIRED[::2], REQUIRED[1::2], strict=True) if word[0] != missing]
    assert f"Missing option '{missing}'" in given(*words[0])


def test_a_document_is_given_as_text_or_as_a_file(tmp_path):
    (tmp_path / "sites.json").write_text('{"a": {}}')
    assert parse_document("sites", str(tmp_path / "sites.json")) == {"a": {}}
    assert parse_document("sites", ' {"a": {}}') == {"a": {}}
    assert parse_document("sites", "") == {}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "sites: not valid JSON"),
        ("none.json", "sites: 'none.json' is neither a JSON object nor a file that can be read (No such file or directory)"),
        (".", "is neither a JSON object nor a file that can be read (Is a directory)"),
        ("bytes.json", "sites: "),
        ("list.json", "expected a JSON object"),
        ('{"a": NaN}', "sites: not valid JSON"),
    ],
)
def test_what_is_no_document_is_told(tmp_path, monkeypatch, value, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text(json.dumps([1]))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UsageError) as error:
        parse_document("sites", value)
    assert reason in str(error.value)
