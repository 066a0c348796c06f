"""Which runs become versions, which version predicts, and what a forged latest.json can do."""

from __future__ import annotations

import json
import logging

import pytest
from support.data import send_clients
from support.serving import served

import fedstream
from fedstream.audit import verify_run
from fedstream.catalog.aliases import promote
from fedstream.catalog.versions import find_latest, find_version, list_versions
from fedstream.local.inprocess import run_inprocess
from fedstream.record.layout import ModelKeys
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC
from fedstream.stream.reader import topic_bounds

MODEL = "builtin:digits-mlp"
KEYS = ModelKeys(MODEL)


def words(spec, *more):
    named = [
        "--clients",
        ",".join(spec["clients"]),
        "--rounds",
        "1",
        "--batch-size",
        "10",
        "--model",
        MODEL,
        "--runner",
        "inprocess",
    ]
    return ["run", *named, "--evaluation-topic", spec["evaluation_topic"], *more]


def test_a_run_that_is_not_better_is_finished_and_not_published(published, cli):
    first = json.loads(
        cli(
            "run",
            *words(published.spec, "--name", "worse", "--publish", "if-better", "--learning-rate", "1e-9", "--json")[
                1:
            ],
        ).out
    )
    assert (first["finished"], first["version"], first["rounds"]) == (True, 0, 1)
    assert first["reason"].startswith("publish is `if-better`, and accuracy ")
    assert first["reason"].endswith(" of version 1")
    assert find_latest(published.store, MODEL).number == 1
    said = cli(*words(published.spec, "--name", "worse", "--publish", "if-better", "--learning-rate", "1e-9"))
    assert (said.code, said.out.splitlines()[0]) == (0, f"run worse: 1 round, not published: {first['reason']}")


def test_a_better_run_is_published(published, cli):
    said = cli(*words(published.spec, "--name", "better", "--publish", "if-better", "--epochs", "20"))
    assert (said.code, said.out.splitlines()[0]) == (0, f"run better: 1 round, published version 2 of {MODEL}")


def test_a_run_that_is_never_published_still_verifies(published, cli):
    said = cli(*words(published.spec, "--name", "trial", "--publish", "never"))
    assert (said.code, said.out.splitlines()[0]) == (0, "run trial: 1 round, not published: publish is `never`")
    assert list_versions(published.store, MODEL) == [1]
    assert verify_run(published.store, "trial").ok


def test_a_model_that_diverged_is_published_under_no_policy(published, caplog):
    layers, losses = fedstream.keras.layers, fedstream.keras.losses
    model = fedstream.keras.Sequential([fedstream.keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    fedstream.add_model(model, "linear")
    with caplog.at_level(logging.WARNING, "fedstream"):
        assert run_inprocess(published.spec | {"run": "diverged", "model": "linear", "learning_rate": 1e16}) == 0
    assert "run diverged is not published: round 1, the best one, has loss " in caplog.text
    assert "training diverged; use a smaller learning_rate in a new run" in caplog.text
    assert list_versions(published.store, "linear") == []


def test_a_model_that_no_client_measured_is_not_published(published, kafka, caplog):
    spec = {"run": "blind", "model": MODEL, "clients": send_clients(kafka), "rounds": 1, "validation_rate": 0}
    with caplog.at_level(logging.WARNING, "fedstream"):
        assert run_inprocess(spec) == 0
    assert "run blind is not published: its quality is not known: round 1 was not measured on any record" in caplog.text
    assert list_versions(published.store, MODEL) == [1]


@pytest.mark.parametrize(
    "forged",
    [
        b"not json",
        b"[" * 5000,
        b'{"version": "99"}',
        b'{"version": 99, "manifest": "%s"}' % (b"0" * 64),
        b'{"version": 1, "manifest": "%s"}' % (b"0" * 64),
        b'{"version": 1e99, "manifest": ""}',
    ],
)
def test_a_forged_latest_is_replaced_and_the_owners_are_told(published, publish_next, kafka, forged):
    _, etag = published.store.get_with_etag(KEYS.latest)
    assert published.store.put_if_match(KEYS.latest, forged, etag)
    told = topic_bounds(kafka, MODEL_CONTROL_TOPIC)[0][1]
    assert publish_next() == 2
    assert find_latest(published.store, MODEL).number == 2
    assert topic_bounds(kafka, MODEL_CONTROL_TOPIC)[0][1] == told + 1


def test_a_genuine_newer_latest_stays(published, publish_next):
    assert (publish_next(), publish_next()) == (2, 3)
    assert run_inprocess(published.spec | {"rounds": 3}) == 3
    assert find_latest(published.store, MODEL).number == 3


def test_an_alias_is_followed_as_it_moves_and_not_to_the_newest(published, publish_next):
    promote(published.store, find_version(published.store, MODEL, 1), "champion")
    champion, newest = served(published, "champion"), served(published, None)
    assert publish_next() == 2
    assert (champion.current().number, newest.current().number) == (1, 2)
    promote(published.store, find_version(published.store, MODEL, 2), "champion")
    assert champion.current().number == 2
    promote(published.store, find_version(published.store, MODEL, 1), "champion")
    assert champion.current().number == 1


def test_a_number_that_was_removed_is_not_published_again(published, publish_next, cli):
    assert publish_next() == 2
    assert cli("model", "remove", f"{MODEL}@2", "--yes").code == 0
    assert find_latest(published.store, MODEL).number == 1
    assert publish_next() == 3
