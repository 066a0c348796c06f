"""`fedstream submit` where the store of the run can be read:
a real one, beside a fake of Kubeflow that knows less than it.
"""

import json

import pytest
from support.data import send_clients
from support.fake_kubeflow import FakeKubeflow, succeeded

from fedstream.catalog.versions import find_version
from fedstream.kubeflow import following
from fedstream.local.inprocess import run_inprocess
from fedstream.store.objects import ObjectStore

MODEL = "builtin:digits-mlp"


@pytest.fixture(scope="module")
def finished(platform):
    """The environment of a run that is finished: a round, and one that only measures."""
    env = platform.env | {"S3_PREFIX": "submitted/"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        assert (
            run_inprocess(
                {"run": "done", "model": MODEL, "clients": send_clients(platform.kafka), "rounds": 1, "batch_size": 10}
            )
            == 1
        )
    return env


@pytest.fixture
def submit(finished, cli, monkeypatch):
    for name, value in finished.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(following, "POLL_S", 0.01)
    with FakeKubeflow().running() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        server.scripts = [succeeded(1)]
        yield lambda *words: cli("submit", "--model", MODEL, *words)


def test_the_store_knows_that_a_run_is_finished_of_which_a_fake_api_tells_the_last_round_only(submit):
    said = submit("--name", "done", "--rounds", "1", "--until-done", "--json")
    assert said.code == 0, said.err
    document, manifest = json.loads(said.out), find_version(ObjectStore.from_env(), MODEL, 1).manifest
    assert document["finished"] is True
    assert [entry["passes"] for entry in document["submissions"]] == [1]
    assert (document["model"], document["version"], document["rounds"]) == (MODEL, 1, 1)
    assert {name: document[name] for name in ("round", "metrics", "weights_digest")} == {
        name: getattr(manifest, name) for name in ("round", "metrics", "weights_digest")
    }
    assert 0 <= document["metrics"]["accuracy"] <= 1


def test_a_finished_run_of_a_fake_api_is_told_with_version_and_metrics(submit):
    assert (
        f"run done is finished and published as version 1 of {MODEL}; accuracy 0."
        in submit("--name", "done", "--rounds", "1", "--watch").out
    )


def test_a_version_of_fewer_rounds_does_not_finish_a_run_on_a_fake_api(submit):
    document = json.loads(submit("--name", "done", "--rounds", "2", "--watch", "--json").out)
    assert (document["finished"], document["version"], document["rounds"]) == (False, 0, 1)
    assert document["metrics"].keys() == {"accuracy"}


def test_a_store_without_the_run_of_a_fake_api_is_told_and_known_by_nulls(submit):
    said = submit("--name", "elsewhere", "--rounds", "1", "--watch", "--json")
    document = json.loads(said.out)
    assert said.code == 0
    assert "the result of the run cannot be read from here: there is no run 'elsewhere' in this bucket" in said.err
    assert {
        document[name] for name in ("model", "version", "reason", "rounds", "round", "metrics", "weights_digest")
    } == {None}
