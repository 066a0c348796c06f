"""`fedstream strategies` lists what the registry knows."""

import json

import pytest
from support.strategies import install
from typer.testing import CliRunner

from fedstream.aggregation.registry import BUILT_IN
from fedstream.cli.app import app


def said(*words):
    done = CliRunner().invoke(app, ["strategies", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_json_has_each_strategy_with_parameters_paper_and_use():
    document = json.loads(said("--json"))
    assert [about["name"] for about in document["strategies"]] == sorted(BUILT_IN)
    (adam,) = (about for about in document["strategies"] if about["name"] == "FedAdam")
    assert adam["parameters"][1] == {
        "name": "beta_1",
        "default": 0.9,
        "allowed": "a number at least 0 and below 1",
        "description": "Decay of the first moment.",
    }
    assert adam["paper"].startswith("Reddi et al. 2021")
    assert document["broken"] == []


@pytest.mark.parametrize("word", ["FedTrimmedAvg", "beta", "at least 0 and below 0.5", "Yin et al. 2018", "hostile"])
def test_people_read_the_same(word):
    assert word in said()


def test_one_strategy_that_cannot_be_loaded_does_not_hide_the_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path, "broken", "no_such_module:FedLost", "FedLost"))
    document = json.loads(said("--json"))
    assert len(document["strategies"]) == len(BUILT_IN)
    assert "package 'broken' offers as 'no_such_module:FedLost', cannot be loaded" in document["broken"][0]
