"""A whole run without a server and without TensorFlow: the store and the streams in memory, and a model in numpy."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.in_memory import MODEL, SPEC, send

from fedstream.audit import verify_run
from fedstream.catalog.versions import find_latest
from fedstream.errors import QuorumError
from fedstream.local.inprocess import run_inprocess
from fedstream.steps.context import Context
from fedstream.store.disk import DiskStore
from fedstream.store.memory import MemoryStore
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC
from fedstream.worker.worker import LocalWorker, Refused, ask_for


@pytest.fixture(params=["memory", "disk"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Context:
    store = MemoryStore() if request.param == "memory" else DiskStore(tmp_path / "store")
    return replace(Context.in_memory(), store=store)


def test_a_run_learns_is_published_and_verified(context: Context) -> None:
    send(context, "north", "south")
    assert run_inprocess(SPEC, context=context) == 1
    measured = [commit.metrics.values["accuracy"] for commit in context.run("first").ledger.commits() if commit.metrics]
    assert measured[0] < 0.3
    assert measured[-1] > 0.8
    audit = verify_run(context.store, "first", brokers=context.brokers)
    assert audit.ok, audit.problems
    assert audit.records_checked == 300


def test_a_version_has_the_models_files_and_is_announced(context: Context) -> None:
    send(context, "north", "south")
    run_inprocess(SPEC, context=context)
    version = find_latest(context.store, MODEL)
    assert {"model.json", "weights.safetensors", "report.html"} <= version.manifest.files.keys()
    assert "inference_service.yaml" not in version.manifest.files
    ((_, _, said),) = context.brokers.at("").read_announcements(MODEL_CONTROL_TOPIC, 1.0)
    assert version.manifest.files["model.json"].encode() in said


def test_two_runs_of_the_same_values_have_the_same_digests() -> None:
    heads = []
    for _ in range(2):
        context = Context.in_memory()
        send(context, "north", "south")
        run_inprocess(SPEC, context=context)
        heads.append(context.run("first").ledger.commit(3).weights_digest)
    assert heads[0] == heads[1]


def test_an_evaluation_topic_measures_each_new_model(context: Context) -> None:
    send(context, "north", "south", "judge")
    run_inprocess(SPEC | {"clients": ["north", "south"], "evaluation_topic": "judge"}, context=context)
    commits = context.run("first").ledger.commits()
    assert [commit.measured_round for commit in commits] == [None, 1, 2, 3]


def test_records_that_are_no_longer_kept_are_a_refusal_that_says_so(context: Context) -> None:
    send(context, "north", "south")
    context.brokers.at("").forget("north", 10)  # type: ignore[attr-defined]
    with pytest.raises(QuorumError, match="records north:0:0 to 9 are no longer kept"):
        run_inprocess(SPEC | {"min_clients": 2}, context=context)


def test_deadlines_are_read_on_the_contexts_clock() -> None:
    """Each look at this clock costs half of the round's ten minutes, so training ends before its second epoch."""
    looks = itertools.count()
    context = replace(Context.in_memory(), clock=lambda: 300.0 * next(looks))
    send(context, "north", "south")
    with pytest.raises(QuorumError, match="training passed the round's deadline"):
        run_inprocess(SPEC, context=context)


def test_a_worker_answers_with_a_manifest_or_a_refusal() -> None:
    context = Context.in_memory()
    send(context, "north", "south")
    run_inprocess(SPEC | {"rounds": 1}, context=context)
    ask = ask_for(context, "first", 1, "north", "again")
    manifest = LocalWorker(context).update(ask)
    assert manifest == context.run("first").manifest(1, "north")
    assert LocalWorker(context).update(replace(ask, base="0" * 64)) == Refused(
        f"the ask is for weights {'0' * 12}, but round 1 builds on {ask.base[:12]}"
    )


def test_neither_tensorflow_nor_kafka_nor_kubeflow_is_imported() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/unit/local']; import test_in_memory as t\n"
        "context = t.Context.in_memory(); t.send(context, 'north', 'south'); t.run_inprocess(t.SPEC, context=context)\n"
        "print([name for name in ('tensorflow', 'keras', 'kafka', 'kfp', 'kubernetes') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
