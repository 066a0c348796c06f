"""Runs in which not all variables travel: what is in the store, what is trained, and what an audit finds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.federation import digests, federation, objects, run, run_in_pieces

from fedstream.audit import verify_run
from fedstream.catalog.versions import find_latest, read_version_file
from fedstream.errors import SpecError
from fedstream.record.exchange import Parts
from fedstream.record.weights import from_bytes
from fedstream.steps import plan, train

KERNEL = {"exchange": {"variables": ["kernel"]}}


def test_only_what_travels_is_in_updates_and_global_models() -> None:
    state = run(federation(), **KERNEL)
    assert {name for arrays in objects(state, "rounds/").values() for name in arrays} == {"kernel"}
    assert state.record.parts is not None
    assert state.record.parts.shared == ["kernel"]
    audit = verify_run(state.store, "r")
    assert audit.ok, audit.problems


def test_what_does_not_travel_keeps_its_initial_value_in_the_published_model() -> None:
    state = run(federation(), **KERNEL)
    version = find_latest(state.store, state.record.model.name)
    weights = from_bytes(read_version_file(state.store, version, "weights.safetensors"), "published")
    assert not weights["bias"].any()
    assert weights["kernel"].any()


def test_the_model_is_measured_whole_on_an_evaluation_topic() -> None:
    context = federation("north", "south", "judge")
    state = run(context, clients=["north", "south"], evaluation_topic="judge", **KERNEL)
    audit = verify_run(state.store, "r", brokers=context.brokers)
    assert audit.ok, audit.problems
    assert state.ledger.commit(3).metrics.values["accuracy"] > 0.5


@pytest.mark.parametrize("fields", [KERNEL, {**KERNEL, "strategy": "FedAdam"}, {**KERNEL, "strategy": "FedProx"}])
def test_a_run_that_is_resumed_each_round_has_the_same_digests(fields: dict[str, Any]) -> None:
    assert digests(run_in_pieces(federation(), **fields)) == digests(run(federation(), **fields))


def test_if_all_variables_travel_nothing_changes() -> None:
    plain, named = run(federation()), run(federation(), exchange={"variables": ["kernel", "bias"]})
    assert digests(plain) == digests(named)
    assert "parts" not in json.loads(named.store.get(named.keys.spec))


def test_a_baseline_trains_what_the_run_trains() -> None:
    state = run(federation(), baseline=True, **KERNEL)
    assert state.manifest(1, "north").alone is not None
    assert verify_run(state.store, "r").ok


def test_a_pattern_that_matches_nothing_is_refused_before_anything_is_written() -> None:
    context = federation()
    with pytest.raises(SpecError, match="'weights' matches no variable of model 'builtin:numpy-softmax', which has "):
        run(context, exchange={"variables": ["weights"]})
    assert not context.store.list("runs/")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda update: {**update, "bias": np.zeros(10, np.float32)}, "variable 'bias' is not in the global model"),
        (lambda update: {}, "variable 'kernel' is missing"),
    ],
    ids=["more", "less"],
)
def test_an_update_with_other_variables_is_rejected(change: Any, reason: str, monkeypatch: Any) -> None:
    plain = train.join

    def forged(weights: Any, extras: Any) -> Any:
        return change(plain(weights, extras)) if next(calls) == 0 else plain(weights, extras)

    calls = iter(range(1_000))
    monkeypatch.setattr(train, "join", forged)
    state = run(federation(), rounds=1, **KERNEL)
    verdicts = {verdict.client: verdict for verdict in state.verdicts(1).verdicts}
    assert not verdicts["north"].accepted
    assert reason in verdicts["north"].reason
    assert verdicts["south"].accepted
    assert verify_run(state.store, "r").ok


def test_an_audit_finds_a_plan_whose_variables_do_not_follow_from_the_spec(monkeypatch: Any) -> None:
    monkeypatch.setattr(plan, "parts_of", lambda exchange, model: Parts(shared=["bias"]))
    state = run(federation(), **KERNEL)
    (found,) = verify_run(state.store, "r").problems
    assert found.key == state.keys.spec
    assert found.what.startswith("parts is shared=['bias'] personal=[], expected shared=['kernel']")
