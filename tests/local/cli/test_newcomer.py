"""One newcomer's day, as commands: a model and two wards' tables, each everyday mistake once,
and what is said about it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState

COLUMNS = ["age", "bmi", "pressure", "sugar"]


def table(seed: int, records: int = 60) -> pd.DataFrame:
    """Return patients whose outcome is seen in the difference of the first and the last column."""
    values = np.random.default_rng(seed).normal(size=(records, 4)).round(3)
    frame = pd.DataFrame(values, columns=COLUMNS)
    return frame.assign(outcome=np.where(frame.age > frame.sugar, "ill", "well"))


class Newcomer:
    """A person with a folder, who types commands.

    Clients have a name of their own in each test: all share one broker.
    """

    def __init__(self, cli: Callable[..., Any], folder: Path) -> None:
        self.cli, self.folder, self.name = cli, folder, f"w{uuid.uuid4().hex[:6]}"
        self.ward7, self.ward9 = f"{self.name}-7", f"{self.name}-9"

    def type(self, *words: str, code: int = 0) -> str:
        """Type a command, and return all that it says; its lines are joined,
        since people's terminals break them elsewhere.
        """
        said = self.cli(*words)
        assert said.code == code, said.out + said.err
        return " ".join((said.out + said.err).split())

    def json(self, *words: str) -> Any:
        said = self.cli(*words, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    def send(self, ward: str, frame: pd.DataFrame, *options: str, topic: str = "", code: int = 0, **how: Any) -> str:
        """Write a table to a file, as pandas does it for those who know it, and send it."""
        frame.to_csv("ward.csv", **({"index": False} | how))
        words = ("--topic", topic or ward, "--client", ward, "--label", "outcome", "--validation-rate", "0.2")
        return self.type("stream", "send", "ward.csv", *words, *options, code=code)

    def run(self, run: str, *options: str) -> list[str]:
        return [
            "run",
            "--name",
            run,
            "--model",
            "sugar",
            "--clients",
            f"{self.ward7},{self.ward9}",
            "--rounds",
            "1",
            *options,
        ]


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    """Return two models of one shape."""
    from fedstream.model._tensorflow import keras
    from fedstream.model.files import save_keras

    found = {}
    for name, seed in (("a", 1), ("b", 2)):
        keras().utils.set_random_seed(seed)
        network = keras().Sequential([keras().Input((4,)), keras().layers.Dense(2, activation="softmax")])
        network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        found[name] = save_keras(network)
    return found


@pytest.fixture
def me(cli: Callable[..., Any], home: Path, platform_env: dict[str, str], models: dict[str, bytes]) -> Newcomer:
    for name, data in models.items():
        (home / f"{name}.keras").write_bytes(data)
    return Newcomer(cli, home)


@pytest.fixture
def wards(me: Newcomer) -> Newcomer:
    """Return the newcomer, who has added a model and sent both wards' tables."""
    me.type("model", "add", "a.keras", "--name", "sugar")
    for ward, seed in ((me.ward7, 7), (me.ward9, 9)):
        me.send(ward, table(seed))
    return me


def test_the_model_that_was_added_last_counts(me: Newcomer) -> None:
    add = ("model", "add", "--name", "sugar", "--json")
    first, second = json.loads(me.cli(*add, "a.keras").out), json.loads(me.cli(*add, "b.keras").out)
    a, b = first["keras_digest"], second["keras_digest"]
    assert (first["replaced"], second["replaced"]) == (None, a)
    assert f"new runs start from it instead of {b[:12]}" in me.type("model", "add", "a.keras", "--name", "sugar")
    assert "already is this file; nothing was changed" in me.type("model", "add", "a.keras", "--name", "sugar")
    assert f"keras file {a} (previously {b[:12]}, {a[:12]})" in me.type("model", "show", "sugar")
    for ward in (me.ward7, me.ward9):
        me.send(ward, table(1))
    me.type(*me.run("first"))
    assert RunState(ObjectStore.from_env(), "first").record.model.keras_digest == a


def test_columns_go_by_their_names(wards: Newcomer) -> None:
    me = wards
    usual = me.json(*me.run("usual"))
    said = me.send(me.ward9, table(9)[["outcome", *COLUMNS[::-1]]], topic=f"{me.ward9}-reversed")
    assert f"this supersedes the earlier announcement of {me.ward9}:0:0:60; pass --append to add to it instead" in said
    assert me.json(*me.run("reversed"))["weights_digest"] == usual["weights_digest"]
    assert "every global model reproduced bit for bit" in me.type("verify", "reversed", "--stream")
    me.type("report", "reversed")
    assert {*COLUMNS, "ill", "well"} <= set(
        re.findall(r"\w+", re.sub("<[^>]+>", " ", Path("reversed.html").read_text()))
    )

    me.send(me.ward9, table(9).rename(columns={"sugar": "glucose"}))
    refused = me.type(*me.run("glucose"), code=1)
    assert (
        f"client {me.ward9!r} cannot take part: its columns are not the run's: it lacks 'sugar' and has 'glucose'"
        in refused
    )


def test_what_cannot_be_meant_is_refused_before_it_is_sent(me: Newcomer) -> None:
    frame = table(7)
    assert "column 1 has no name: it may be a row number, as pandas writes it" in me.send(
        me.ward7, frame, index=True, code=2
    )
    frame.loc[3, "bmi"] = np.nan
    assert "column 'bmi' has empty cells; fill or drop them, or send NaN with --allow-nan" in me.send(
        me.ward7, frame, code=2
    )
    assert "sent 60 records" in me.send(me.ward7, frame, "--allow-nan")
    latin = table(7).rename(columns={"age": "âge"})
    assert "it is not UTF-8 (byte 0 is 0xe2); convert it, if it is Latin-1 with `iconv" in me.send(
        me.ward7, latin, encoding="latin-1", code=2
    )
    assert "there is no column 'outcome'" in me.send(me.ward7, table(7).rename(columns={"outcome": "result"}), code=2)


def test_a_second_send_says_what_it_supersedes(wards: Newcomer) -> None:
    me = wards
    assert f"this supersedes the earlier announcement of {me.ward7}:0:0:60" in me.send(me.ward7, table(8))
    assert "supersedes" not in me.send(me.ward7, table(9), "--append")
    assert me.json(*me.run("appended"))["records"]["announced"] == 180
    said = me.type("stream", "withdraw", "--client", me.ward7)
    assert f"withdrew the announcements of {me.ward7} for {me.ward7}" in said
    refused = me.type(*me.run("withdrawn"), code=1)
    assert (
        f"client {me.ward7!r} cannot take part: {me.ward7} withdrew what it had announced of topic {me.ward7}"
        in refused
    )
    states = [entry["state"] for entry in me.json("stream", "list") if entry["client"] == me.ward7]
    assert states == ["withdrawn", "withdrawn", "withdrawn", "withdrawal"]
    assert f"client {me.ward7!r} has announced nothing that could be withdrawn" in me.type(
        "stream", "withdraw", "--client", me.ward7, code=2
    )


def test_a_client_that_does_not_take_part_is_named(wards: Newcomer) -> None:
    me = wards
    me.send(me.ward9, table(9).assign(outcome=7))
    short = me.type(*me.run("strict"), code=1)
    assert (
        f"1 of 2 updates are accepted and the quorum is 2. {me.ward9}: label 7 of record 0 is no class of model 'sugar'"
        in short
    )
    said = me.type(*me.run("lenient", "--min-clients", "1"))
    assert "run lenient: 1 round with 1 of 2 clients, published version 1 of sugar" in said
    assert f"{me.ward9} did not take part" in said
    outcome = me.json(*me.run("lenient", "--min-clients", "1"))
    assert (outcome["degraded"], outcome["clients"]) == (True, {"took_part": 1, "meant": 2})
    (absence,) = outcome["absent"]
    assert absence["client"] == me.ward9
    assert absence["reason"].startswith("label 7 of record 0 is no class of model 'sugar', which has classes 0 to 1")
    assert f"{me.ward9} did not take part" in me.type("rounds", "lenient")
    me.type("report", "lenient")
    assert "! Finished with 1 of 2 clients" in Path("lenient.html").read_text()


def test_a_restriction_that_differs_names_its_option(me: Newcomer) -> None:
    me.type("model", "add", "a.keras", "--name", "sugar")
    for ward in (me.ward7, me.ward9):
        me.send(ward, table(7), "--restriction", '{"study": "north"}')
    assert "--data-restriction" in me.type(*me.run("open"), code=1)
    me.type(*me.run("north", "--data-restriction", '{"study": "north"}'))


def test_versions_are_published_named_and_removed(wards: Newcomer) -> None:
    me = wards
    three = [*me.run("first", "--learning-rate", "0.1"), "--rounds", "3"]
    said = me.type(*three)
    assert "run first: 3 rounds, published version 1 of sugar" in said
    assert re.findall(r"round (\d of \d):", said) == ["1 of 3", "2 of 3", "3 of 3"]
    worse = me.type(*me.run("worse", "--publish", "if-better", "--learning-rate", "1e-9"))
    assert re.search(
        r"not published: publish is `if-better`, and accuracy [\d.]+ is not better than [\d.]+ of version 1", worse
    )
    assert "not published: publish is `never`" in me.type(*me.run("trial", "--publish", "never"))
    assert "sugar@champion is now version 1" in me.type("model", "promote", "sugar@1", "champion")
    assert "wrote sugar-1.keras: version 1 of sugar" in me.type("model", "pull", "sugar@champion")

    assert {run["run"] for run in me.json("runs")["runs"]} == {"first", "worse", "trial"}
    assert {"rounds", "learning_rate"} <= set(me.json("runs", "first", "worse")["differ"])
    assert "what differs" in me.type("runs", "first", "worse")

    head = me.json("verify", "first")["head"]
    assert f"head: {head}" in me.type("verify", "first")
    assert "goes back to the model of round 2; run it again to continue from there" in me.type(
        "rollback", "first", "--to", "2"
    )
    again = me.type(*three)
    assert "published version 2 of sugar" in again
    assert re.findall(r"round (\d of \d):", again) == ["3 of 3"]
    me.type("verify", "first", "--expect", head)
    assert "no commit of the run has the expected digest" in me.type("verify", "trial", "--expect", head, code=1)

    refused = me.type("model", "remove", "sugar", "--yes", code=2)
    assert "cannot remove model sugar: 1 file added" in refused
    assert "run first, run trial, run worse need it; pass --force to remove it anyway" in refused
    assert "alias champion needs it" in me.type("model", "remove", "sugar@1", "--yes", code=2)
    assert "removed version 2" in me.type("model", "remove", "sugar@2", "--yes")
    assert "pass --yes to confirm it without a terminal" in me.type("model", "remove", "sugar@1", "--force", code=2)
