"""The options of a command are the entries of a form."""

import json
import re
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from fedstream.cli.options import parse_document, with_options
from fedstream.errors import UsageError
from fedstream.record.document import Document
from fedstream.record.form import Entry, form_of
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec, parse_spec

REQUIRED = ["--name", "r", "--model", "m"]


class Place(Document):
    town: str = ""


class Form(Document):
    """An entry of every kind."""

    name: Annotated[str, Entry("who", flag="--called")] = Field(description="What it is called.")
    friends: Annotated[list[str], Entry("who")] = Field([], description="Who comes along.")
    place: Annotated[Place, Entry("where it runs")] = Field(Place(town="Ghent"), description="Where it is.")
    count: Annotated[int, Entry("training")] = Field(3, description="How many.")
    part: Annotated[float, Entry("training")] = Field(0.5, description="How much.")
    loud: Annotated[bool, Entry("training")] = Field(False, description="Whether it is heard.")
    size: Annotated[Literal["small", "large"], Entry("stopping")] = Field("small", description="How large.")


def given(*words, form=RunSpec, unset=""):
    """Return the form values that a command receives, and its own option."""
    app = typer.Typer()
    heard = []

    @app.command()
    @with_options(form, "values", unset)
    def command(values: dict, own: bool = False) -> None:
        """Do it."""
        heard.extend([values, own])

    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return heard or done.output


def test_an_option_of_every_kind_is_read_as_its_field_needs_it():
    words = [
        "--called",
        "x",
        "--friends",
        "b, a,",
        "--place",
        '{"town": "Lyon"}',
        "--count",
        "4",
        "--part",
        "0.25",
        "--loud",
        "--size",
        "large",
    ]
    values, own = given(*words, "--own", form=Form)
    assert own
    assert values == {
        "name": "x",
        "friends": ["b", "a"],
        "place": {"town": "Lyon"},
        "count": 4,
        "part": 0.25,
        "loud": True,
        "size": "large",
    }


def test_what_is_not_given_has_the_form_s_default_or_none_where_another_form_decides():
    values, own = given("--called", "x", form=Form)
    assert not own
    assert {name: values[name] for name in ("friends", "count", "part", "loud", "size")} == {
        "friends": [],
        "count": 3,
        "part": 0.5,
        "loud": False,
        "size": "small",
    }
    assert given(form=PipelineOptions, unset="the form's")[0] == dict.fromkeys(PipelineOptions.model_fields)


def test_help_shows_the_options_in_the_form_s_groups():
    said = given("--help", form=Form)
    panels = dict(re.findall(r"─ ([A-Z][a-z ]+) ─+╮\n(.*?)╰", said, re.S))
    assert list(panels) == ["Options", "Who", "Training", "Stopping", "Where it runs"]
    assert re.findall(r"--[a-z]+", panels["Training"]) == ["--count", "--part", "--loud"]
    assert "What it is called." in panels["Who"]
    assert "Who comes along. Separated by commas." in panels["Who"]
    assert "Where it is. JSON, or a file of it." in panels["Where it runs"]
    assert "[default: 0.5]" in panels["Training"]


def test_without_options_a_run_has_the_defaults_of_the_spec():
    spec, _ = given(*REQUIRED)
    assert spec.keys() == RunSpec.model_fields.keys()
    assert parse_spec(spec) == RunSpec(run="r", model="m")


def test_every_option_of_a_run_reaches_its_own_field():
    wanted, words = {}, []
    for number, field in enumerate(form_of(RunSpec), 100):
        own = {
            "flag": True,
            "integer": number,
            "number": number + 0.5,
            "names": [field.name],
            "document": {"of": field.name},
        }
        wanted[field.name] = value = own.get(field.kind, f"a {field.name}")
        texts = {"flag": [], "names": [field.name], "document": [json.dumps(value)]}
        words += [field.flag, *texts.get(field.kind, [str(value)])]
    assert given(*words)[0] == wanted


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
        (
            "none.json",
            "sites: 'none.json' is neither a JSON object nor a file that can be read (No such file or directory)",
        ),
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
