"""`fedstream runs`: all runs of a bucket, and two beside each other."""

from __future__ import annotations

import json

import pytest

from fedstream.local.inprocess import run_inprocess
from fedstream.record.layout import RunKeys
from fedstream.report.runs import summaries


def test_the_runs_of_a_bucket_are_listed(published, cli):
    run_inprocess(published.spec | {"run": "b", "publish": "never"})
    runs = {run["run"]: run for run in json.loads(cli("runs", "--json").out)["runs"]}
    first, second = runs["r"], runs["b"]
    assert [(run["state"], run["version"], run["rounds"]) for run in (first, second)] == [
        ("finished", 1, 1),
        ("finished", 0, 1),
    ]
    assert first["started"] <= second["started"] <= second["ended"]
    assert (first["metric"], first["value"]) == ("accuracy", second["value"])
    table = cli("runs").out
    assert "│ r   │ builtin:digits-mlp │ finished │      1 │ accuracy 0." in table


def test_damaged_runs_are_lines_of_the_list(published, cli):
    for key, data in [
        (RunKeys("no-json").spec, b"{"),
        (RunKeys("deep").spec, b"[" * 100_000),
        (RunKeys("empty").spec, b"{}"),
        (f"{RunKeys('never-planned').rounds}x", b"{}"),
        (RunKeys("[/x]").spec, b"{}"),
    ]:
        published.store.put_new(key, data)
    spec = published.store.get(RunKeys("r").spec)
    published.store.put_new(RunKeys("cut").spec, spec)
    published.store.put_new(RunKeys("bad-commit").spec, spec)
    published.store.put_new(RunKeys("bad-commit").at(0).commit, b'{"commit":[1]}')
    states = {run.run: run.state for run in summaries(published.store)}
    assert states.pop("r") == "finished"
    assert states.pop("cut") == "round 0 is next"
    assert set(states) == {"no-json", "deep", "empty", "bad-commit"}
    assert all(state.startswith("damaged: runs/") for state in states.values())
    said = cli("runs")
    assert (said.code, said.err) == (0, "")
    assert "damaged: runs/bad-commit/rounds/0000/commit.json is no" in said.out


def test_two_runs_are_compared(published, cli):
    run_inprocess(published.spec | {"run": "b", "epochs": 3, "rounds": 2})
    said = json.loads(cli("runs", "r", "b", "--json").out)
    assert said["differ"] == {"rounds": [1, 2], "epochs": [1, 3]}
    rounds = {entry["round"]: entry for entry in said["rounds"]}
    assert sorted(rounds) == [1, 2]
    assert rounds[2]["accuracy"][0] is None
    assert rounds[1]["loss"][1] < rounds[1]["loss"][0]
    table = cli("runs", "r", "b").out
    assert "epochs" in table
    assert "b accuracy" in table


def test_rounds_are_compared_as_rounds_of_training_also_of_a_run_that_grew(published, cli):
    grown = published.spec | {"run": "grown", "evaluation_topic": "", "validation_rate": 0.2}
    run_inprocess(grown)
    run_inprocess(grown | {"rounds": 2})
    assert [entry["kind"] for entry in json.loads(cli("rounds", "grown", "--json").out)["rounds"]][1:] == [
        "training",
        "closing",
    ] * 2
    said = json.loads(cli("runs", "r", "grown", "--json").out)
    assert [entry["round"] for entry in said["rounds"]] == [0, 1, 2]


def test_contributions_are_summed_up(published, cli):
    said = json.loads(cli("contributions", "r", "--json").out)
    assert sum(row["share"] for row in said["clients"]) == pytest.approx(1)
    assert all(row["norm"] > 0 and row["cosine"] > 0 for row in said["clients"])
    assert [row["client"] for row in said["rounds"]] == [row["client"] for row in said["clients"]]
    table = cli("contributions", "r").out
    assert "run r: contributions in 1 training round" in table
    assert all(row["client"] in table for row in said["clients"])
    assert "there is no run 'x' in this bucket" in cli("contributions", "x").err


def test_what_cannot_be_compared_is_said(published, cli):
    assert "1 run is given; pass two runs to compare them, or none to list all runs" in cli("runs", "r").err
    assert "there is no run 'x' in this bucket" in cli("runs", "r", "x").err
    assert cli("runs", "r", "r").code == 2
