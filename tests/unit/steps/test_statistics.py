"""Statistics of a run in memory: gathered in round 0, bound into the ledger, and judged again by verify."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from support.inprocess import DyingStore, Killed, chain
from support.wards import SPEC, STEPS, run, trained, ward, wards

from fedstream import steps
from fedstream.audit import verify_run
from fedstream.audit.verify import VerifyReport
from fedstream.errors import QuorumError, RunError, SpecError
from fedstream.local.inprocess import run_inprocess
from fedstream.preprocessing.transform import resolve
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.preprocessing import Preprocessing
from fedstream.steps.context import Context
from fedstream.steps.preprocessing import transform_of
from fedstream.store.memory import MemoryStore
from fedstream.store.state import RunState

STATISTICS = "runs/r/rounds/0000/statistics.json"
NORTH = "runs/r/rounds/0000/statistics/north.json"


def changed(state: RunState, key: str, change: dict[str, Any]) -> None:
    document = json.loads(state.store.get(key)) | change
    state.store.remove(key)
    state.store.put_new(key, canonical_json(document))


def problems(report: VerifyReport) -> dict[str, str]:
    return {problem.key: problem.what for problem in report.problems}


@pytest.fixture(scope="module")
def done() -> Context:
    context = wards()
    run(context)
    return context


def test_statistics_are_those_of_the_pooled_records(done: Context) -> None:
    said = done.run("r").statistics
    assert said is not None
    pooled = np.concatenate([trained("north"), trained("south")]).astype(np.float64)
    assert (said.records, sorted(said.clients)) == (len(pooled), ["north", "south"])
    for place, feature in enumerate(said.features):
        values = pooled[:, place][~np.isnan(pooled[:, place])]
        assert (feature.count, feature.missing) == (len(values), len(pooled) - len(values))
        assert feature.mean == pytest.approx(values.mean(), rel=1e-14)
        assert feature.variance == pytest.approx(values.var(), rel=1e-12)
        assert (feature.minimum, feature.maximum) == (values.min(), values.max())
        exact = np.quantile(values, 0.75, method="inverted_cdf")
        assert abs(feature.quantiles["0.75"] - exact) <= 2.0**-8 * abs(exact)
    assert sum(said.class_counts.values()) == len(pooled)


def test_a_client_with_few_records_is_left_out_named_and_trains_all_the_same(done: Context) -> None:
    state = done.run("r")
    count = len(trained("tiny"))
    assert state.statistics is not None
    assert state.statistics.left_out == {"tiny": f"it has {count} records to train on, fewer than min_records, 10"}
    sent = json.loads(done.store.get("runs/r/rounds/0000/statistics/tiny.json"))
    assert (sent["features"], sent["class_counts"], sent["slice"]["class_counts"]) == ([], {}, {})
    assert [entry.client for entry in state.ledger.commit(1).clients if entry.accepted] == ["north", "south", "tiny"]


def test_standardise_takes_its_constants_from_the_statistics(done: Context) -> None:
    state = done.run("r")
    pooled = np.concatenate([trained("north"), trained("south")]).astype(np.float64)
    constants = {
        name: (np.nanmean(pooled[:, place]), np.nanstd(pooled[:, place]))
        for place, name in enumerate(("glucose", "ward", "age"))
    }
    expected = resolve(Preprocessing.model_validate({"steps": STEPS}), (3,), ["glucose", "ward", "age"], constants)
    x, _ = ward("south")
    np.testing.assert_array_equal(transform_of(state, state.record.client("south")).samples(x), expected.samples(x))


def test_the_ledger_names_the_statistics(done: Context) -> None:
    assert done.run("r").ledger.commit(0).statistics_digest == sha256_hex(done.store.get(STATISTICS))
    assert verify_run(done.store, "r", brokers=done.brokers).ok


def test_the_order_of_the_announcements_changes_no_byte() -> None:
    contexts = wards(clients=("north", "south")), wards(clients=("south", "north"))
    digests = [run(context).ledger.commit(0).statistics_digest for context in contexts]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        (STATISTICS, {"records": 7}, "digest is"),
        (NORTH, {"records": 20}, "digest is"),
    ],
)
def test_tampered_statistics_are_named(key: str, change: dict[str, Any], said: str) -> None:
    context = wards()
    state = run(context)
    changed(state, key, change)
    assert said in problems(verify_run(context.store, "r"))[key]


def forged(change: dict[str, Any]) -> Context:
    """Return a run whose statistics were changed before the commit of round 0, which therefore names them."""
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    context = wards(replace(Context.in_memory(), store=MemoryStore(lambda: clock[0])))
    for client in _opened(context):
        steps.ingest_from_kafka.within(context, "r", 0, client, "first")
    steps.aggregate.within(context, "r", 0, "first")
    clock[0] += timedelta(minutes=1)
    changed(context.run("r"), STATISTICS, change)
    context.runs.clear()
    steps.evaluate.within(context, "r", 0)
    context.runs.clear()
    return context


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"records": 7}, "records is 7, expected"),
        (
            {"clients": {}, "left_out": {"north": "no", "south": "no", "tiny": "no"}},
            "leaves out north, whose statistics count",
        ),
        ({"left_out": {}}, "clients is ['north', 'south'], expected"),
        ({"class_counts": {"0": 113}}, "class_counts is"),
    ],
)
def test_statistics_that_do_not_follow_from_the_contributions_are_named(change: dict[str, Any], said: str) -> None:
    context = forged(change)
    assert any(
        problem.key == STATISTICS and said in problem.what for problem in verify_run(context.store, "r").problems
    )


def test_a_contribution_that_its_records_do_not_have_is_named_with_the_stream() -> None:
    context = wards()
    run(context)
    lie = json.loads(context.store.get(NORTH))
    lie["class_counts"] = {"0": lie["records"]}
    context = wards()
    for client in _opened(context):
        if client != "north":
            steps.ingest_from_kafka.within(context, "r", 0, client, "first")
    context.store.put_new(NORTH, canonical_json(lie))
    steps.aggregate.within(context, "r", 0, "first")
    steps.evaluate.within(context, "r", 0)
    assert not problems(verify_run(context.store, "r")), "its own sums do not contradict each other"
    assert problems(verify_run(context.store, "r", brokers=context.brokers)) == {
        NORTH: "its class_counts differ from what its records say"
    }


def _opened(context: Context, **fields: Any) -> list[str]:
    """Plan a run, open round 0, and return its clients."""
    spec = SPEC | fields
    slots = steps.plan_training.within(context, spec, 10**9)
    assert steps.open_round.within(context, "r", 2, "first", slots[0])[0] == 0
    return steps.select_clients.within(context, "r", 0, 2)


def test_a_forged_contribution_is_left_out_with_the_reason() -> None:
    context = wards()
    for client in _opened(context):
        steps.ingest_from_kafka.within(context, "r", 0, client, "first")
    changed(context.run("r"), NORTH, {"class_counts": {"0": 3}})
    context.runs.clear()
    steps.aggregate.within(context, "r", 0, "first")
    steps.evaluate.within(context, "r", 0)
    said = context.run("r").statistics
    assert said is not None
    assert said.left_out["north"] == "its classes have 3 records, expected 50"
    assert not problems(verify_run(context.store, "r"))


def test_a_client_that_sends_nothing_is_named_and_the_quorum_holds() -> None:
    context = wards()
    for client in _opened(context, clients=["north", "south", "tiny"]):
        if client != "north":
            steps.ingest_from_kafka.within(context, "r", 0, client, "first")
    with pytest.raises(QuorumError, match=r"2 of 3 clients sent them.* quorum is 3\. north: it sent no statistics"):
        steps.aggregate.within(context, "r", 0, "first")
    steps.ingest_from_kafka.within(context, "r", 0, "north", "second")
    assert steps.aggregate.within(context, "r", 0, "second") == STATISTICS


def test_a_run_is_killed_at_every_write_and_continues_with_the_same_chain() -> None:
    whole = wards()
    run(whole)
    undisturbed = chain(whole)
    for writes in range(6, 22):
        store = DyingStore(None)
        context = wards(replace(Context.in_memory(), store=store))
        store.left = writes
        with pytest.raises(Killed):
            run_inprocess(SPEC, context=context)
        store.left = None
        context.runs.clear()
        if store.exists("runs/r/spec.json"):
            assert verify_run(store, "r").ok, f"while it is incomplete, after write {writes}"
        run_inprocess(SPEC, context=context)
        assert chain(context) == undisturbed, f"killed at write {writes}"
        assert verify_run(store, "r").ok


def test_a_run_without_statistics_has_the_bytes_that_it_had() -> None:
    context = wards(clients=("north",))
    run(context, preprocessing={"steps": STEPS[1:]})
    spec = json.loads(context.store.get("runs/r/spec.json"))["spec"]
    assert "statistics" not in spec
    assert "statistics_digest" not in json.loads(context.store.get("runs/r/rounds/0000/commit.json"))
    assert not context.store.exists(STATISTICS)


def test_statistics_can_be_gathered_without_any_step() -> None:
    context = wards(clients=("north", "south"))
    state = run(context, preprocessing={"steps": STEPS[1:]}, statistics={"gather": True, "min_records": 1})
    assert state.statistics is not None
    assert [feature.name for feature in state.statistics.features] == ["glucose", "ward", "age"]


NOISE = {"noise_multiplier": 0.5, "bounds": {"glucose": [0, 300], "ward": [0, 2], "age": [0, 100]}}


def test_with_noise_only_noisy_sums_leave_a_client_and_standardise_uses_them() -> None:
    context = wards()
    state = run(context, statistics=NOISE)
    assert state.statistics is not None
    glucose = state.statistics.features[0]
    assert (glucose.quantiles, glucose.bins, state.statistics.class_counts) == ({}, [], {})
    assert glucose.mean == pytest.approx(100, abs=40)
    assert verify_run(context.store, "r", brokers=context.brokers).ok


def test_noise_needs_a_secret() -> None:
    context = replace(wards(clients=("north",)), noise_secret=lambda: None)
    with pytest.raises(QuorumError, match="the noise of the statistics of run 'r' needs a secret"):
        run(context, statistics=NOISE)


def test_bounds_are_those_of_the_features() -> None:
    with pytest.raises(SpecError, match="each feature needs bounds, and feature 'age' has none"):
        run(wards(), statistics={"noise_multiplier": 1, "bounds": {"glucose": [0, 1], "ward": [0, 1]}})


@pytest.mark.parametrize(
    ("steps_", "said"),
    [
        ([{"step": "scale", "columns": ["height"]}], "names column 'height', which the records do not have"),
        ([{"step": "scale"}], r"has input \(5,\), which does not fit .* shape \(3,\)"),
    ],
)
def test_steps_that_do_not_fit_are_refused_when_the_run_is_planned(steps_: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(RunError, match=said):
        run(wards(clients=("north",)), clients=["north"], preprocessing={"steps": steps_})


def test_a_client_in_another_unit_is_seen_before_training(caplog: pytest.LogCaptureFixture) -> None:
    context = wards(clients=("north", "south"), south=18.0)
    for client in _opened(context):
        steps.ingest_from_kafka.within(context, "r", 0, client, "first")
    steps.aggregate.within(context, "r", 0, "first")
    assert "glucose at south has mean 5" in caplog.text
    assert "age at" not in caplog.text
