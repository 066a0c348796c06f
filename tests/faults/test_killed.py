"""A run that is killed anywhere and run again ends with the digests of an undisturbed one, and does no finished work twice."""

import signal
import uuid

import pytest

from fedstream.audit import verify_run
from fedstream.settings import StoreSettings
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore


def fresh_env(platform):
    return platform.env | {"S3_PREFIX": f"test-{uuid.uuid4().hex[:12]}/"}


def digests(store):
    return [commit.weights_digest for commit in Ledger(store, "r").commits()]


def store_of(env):
    return ObjectStore(StoreSettings.from_env(env))


@pytest.fixture(scope="module")
def undisturbed(platform, zygote, clients):
    env = fresh_env(platform)
    spec = {"run": "r", "model": "builtin:digits-mlp", "clients": clients, "rounds": 2, "batch_size": 10, "seed": 5}
    assert zygote.run(env, spec) == {"signal": 0, "version": 1}, zygote.log.read_text()[-3000:]
    return digests(store_of(env))


POINTS = {
    "while the model owner's spec is not yet written": {"before": r"spec\.json"},
    "between spec and round 0": {"after": r"spec\.json"},
    "before a slice": {"before": r"0001/slices/b"},
    "during training": {"training": "b"},
    "between update and manifest": {"after": r"0001/updates/b[^/]*\.safetensors"},
    "after the verdicts": {"after": r"0001/verdicts"},
    "between global model and commit": {"after": r"0002/global"},
    "right after a commit": {"after": r"0001/commit"},
    "in the closing round": {"before": r"0003/updates/b"},
    "during publish, before the manifest": {"before": r"versions/1/manifest"},
    "during publish, after the manifest": {"after": r"versions/1/manifest"},
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(platform, zygote, spec, clients, undisturbed, point):
    env, kill = fresh_env(platform), POINTS[point]
    if kill.get("training"):
        kill = {"training": clients[1]}
    killed = zygote.run(env, spec, kill)
    assert killed == {"signal": signal.SIGKILL}, f"{killed}: {zygote.log.read_text()[-2000:]}"
    store = store_of(env)
    before = {info.key: info.last_modified for info in store.list("runs/")}
    resumed = zygote.run(env, spec)
    assert resumed["signal"] == 0
    assert resumed["version"] in (1, 2), resumed
    assert digests(store) == undisturbed
    report = verify_run(store, "r")
    assert report.ok, report.problems
    after = {info.key: info.last_modified for info in store.list("runs/")}
    assert {key: after[key] for key in before} == before, "a finished object was written again"
    assert store.get_json("models/builtin-digits-mlp/latest.json")["version"] == resumed["version"]


def test_published_twice_is_one_version(platform, zygote, spec):
    env = fresh_env(platform)
    assert zygote.run(env, spec)["version"] == 1
    assert zygote.run(env, spec)["version"] == 1


def test_the_budget_may_grow(platform, zygote, spec):
    env = fresh_env(platform)
    assert zygote.run(env, {**spec, "rounds": 1})["version"] == 1
    assert zygote.run(env, {**spec, "rounds": 2})["version"] == 2
    kinds = [commit.kind for commit in Ledger(store_of(env), "r").commits()]
    assert kinds == ["initial", "training", "closing", "training", "closing"]
    assert verify_run(store_of(env), "r").ok


def test_another_spec_is_refused_by_field(platform, zygote, spec):
    env = fresh_env(platform)
    zygote.run(env, {**spec, "rounds": 1})
    refused = zygote.run(env, {**spec, "rounds": 1, "epochs": 3})
    assert "epochs was 1 and is now 3" in refused["error"]
