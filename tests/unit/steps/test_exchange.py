"""Runs in which not all variables travel: what is in the store, what is trained, and what an audit finds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.federation import SPEC, digests, federation, objects, run, run_in_pieces
from support.inprocess import killed_and_resumed

from fedstream.aggregation.registry import BUILT_IN
from fedstream.audit import verify_run
from fedstream.catalog.versions import find_latest, read_version_file
from fedstream.errors import QuorumError, SpecError
from fedstream.model.split import split_mask
from fedstream.record.exchange import Parts
from fedstream.record.weights import from_bytes, to_bytes
from fedstream.steps import plan, train
from fedstream.steps.global_model import global_weights
from fedstream.store.state import RunState
from fedstream.stream.columns import decode_in_order

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


def forge(monkeypatch: Any, change: Any) -> None:
    """Let the first client of a run, north, send something else than it should."""
    plain, calls = train.written, iter(range(1_000))

    def forged(record: Any, base: Any, result: Any, before: Any) -> Any:
        update, kept = plain(record, base, result, before)
        return change(update, kept) if next(calls) == 0 else (update, kept)

    monkeypatch.setattr(train, "written", forged)


def refused(state: RunState) -> str:
    """Return why north was rejected in round 1, after checking that nobody else was and that the run verifies."""
    audit = verify_run(state.store, "r")
    assert audit.ok, audit.problems
    verdicts = {verdict.client: verdict for verdict in state.verdicts(1).verdicts}
    assert not verdicts["north"].accepted
    assert verdicts["south"].accepted
    return verdicts["north"].reason


@pytest.mark.parametrize(
    ("exchange", "change", "reason"),
    [
        (
            {"variables": ["kernel"]},
            lambda update: {**update, "bias": np.zeros(10, np.float32)},
            "variable 'bias' is not in the global model",
        ),
        ({"variables": ["kernel"]}, lambda update: {"bias": update["kernel"]}, "variable 'kernel' is missing"),
        (
            {"compression": "int8"},
            lambda update: {**update, "scale//bias": np.float32(-1)},
            "variable 'bias' has scale -1, expected at least 0",
        ),
        (
            {"compression": "int8"},
            lambda update: {**update, "scale//bias": np.array(3e38, np.float32), "bias": np.full(10, 127, np.int8)},
            "variable 'bias' has 10 values that are not finite",
        ),
        (
            {"compression": "topk", "fraction": 0.1},
            lambda update: {**update, "indices//bias": np.array([10], np.uint32)},
            "variable 'bias' has index 10, but only 10 values",
        ),
        ({"compression": "float16"}, lambda update: {"kernel": update["kernel"]}, "array 'bias' is missing"),
        ({"compression": "float16"}, lambda update: {}, "array 'bias' is missing"),
    ],
    ids=["more", "others", "scale", "overflow", "index", "missing", "nothing"],
)
def test_a_forged_update_is_rejected_and_the_run_verifies(
    exchange: dict[str, Any], change: Any, reason: str, monkeypatch: Any
) -> None:
    forge(monkeypatch, lambda update, kept: (change(update) or {"x": np.zeros(1)}, kept))
    assert reason in refused(run(federation(), rounds=1, exchange=exchange))


PERSONAL = {"exchange": {"personal": ["bias"]}}


@pytest.mark.parametrize(
    ("exchange", "change", "reason"),
    [
        (PERSONAL["exchange"], lambda kept: {}, "its manifest names no client state, which the run asks for"),
        (
            PERSONAL["exchange"],
            lambda kept: {"personal//bias": np.zeros(3, np.float32)},
            "client state array 'personal//bias' has shape (3,), expected (10,)",
        ),
        (
            {"compression": "int8"},
            lambda kept: {**kept, "residual//bias": np.full(10, np.nan, np.float32)},
            "client state array 'residual//bias' has 10 values that are not finite",
        ),
        (
            {"compression": "float16"},
            lambda kept: {"residual//bias": np.zeros(10, np.float32)},
            "its manifest names a client state, which the run does not ask for",
        ),
    ],
    ids=["nothing", "shape", "NaN", "too much"],
)
def test_a_forged_client_state_is_rejected_and_the_run_verifies(
    exchange: dict[str, Any], change: Any, reason: str, monkeypatch: Any
) -> None:
    forge(monkeypatch, lambda update, kept: (update, change(kept)))
    assert reason in refused(run(federation(), rounds=1, exchange=exchange))


def test_personal_variables_are_kept_by_each_client_and_never_sent() -> None:
    state = run(federation(), **PERSONAL)
    assert state.record.parts is not None
    assert [variable.name for variable in state.record.parts.personal] == ["bias"]
    sent = objects(state, "/updates/") | objects(state, "global")
    assert {name for arrays in sent.values() for name in arrays} == {"kernel"}
    kept = objects(state, "/client_states/")
    assert {name for arrays in kept.values() for name in arrays} == {"personal//bias"}
    values = [arrays["personal//bias"] for arrays in kept.values()]
    for key, data in ((info.key, state.store.get(info.key)) for info in state.store.list("runs/r/")):
        if "/client_states/" not in key:
            assert not any(value.tobytes() in data for value in values), f"{key} has a personal variable"
    assert verify_run(state.store, "r").ok


def test_a_client_trains_and_measures_with_its_own_variables() -> None:
    """North and south have other classes, and their biases move apart; each measures the next model with its own."""
    context = federation()
    state = run(context, **PERSONAL)
    keys = state.keys.at(2)
    own = {
        client: objects(state, keys.client_state(client, str(state.manifest(2, client).client_state_digest)))
        for client in ("north", "south")
    }
    north, south = (next(iter(arrays.values()))["personal//bias"] for arrays in own.values())
    assert np.abs(north - south).max() > 0.01
    document = state.slice(3, "north")
    assert document is not None
    records = context.records.get(context.slice_id(document), lambda: pytest.fail("it is no longer there"))
    matched = state.record.client("north")
    x, y = decode_in_order(state.record, matched, records)
    held_out = split_mask(0, records.partitions, records.offsets, matched.held_out_rate)
    weights = global_weights(context, state, 2, state.ledger.commit(2).weights_digest)
    for bias, same in ((north, True), (weights["bias"], False)):
        measured = context.learner(state).measure(weights | {"bias": bias}, x[held_out], y[held_out])
        assert (measured == state.manifest(3, "north").incoming) == same


@pytest.mark.parametrize(
    "exchange",
    [
        {"personal": ["bias"]},
        {"compression": "float16"},
        {"compression": "int8"},
        {"compression": "topk", "fraction": 0.05},
        {"personal": ["bias"], "compression": "int8"},
    ],
    ids=str,
)
@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam"])
def test_what_a_client_keeps_survives_the_end_of_its_process(exchange: dict[str, Any], strategy: str) -> None:
    whole = run(federation(), exchange=exchange, strategy=strategy)
    pieces = run_in_pieces(federation(), exchange=exchange, strategy=strategy)
    assert chain_of(pieces) == chain_of(whole)
    audit = verify_run(pieces.store, "r")
    assert audit.ok, audit.problems


@pytest.mark.parametrize("strategy", sorted(BUILT_IN))
def test_every_strategy_works_on_what_travels(strategy: str) -> None:
    exchange = {"personal": ["bias"], "compression": "int8"}
    state = run(federation(*"abcdefg"), min_clients=7, rounds=2, exchange=exchange, strategy=strategy)
    assert {name for arrays in objects(state, "global").values() for name in arrays} == {"kernel"}
    audit = verify_run(state.store, "r")
    assert audit.ok, audit.problems


def chain_of(state: RunState) -> list[Any]:
    return [(commit.weights_digest, commit.metrics, commit.clients) for commit in state.ledger.commits()]


@pytest.mark.parametrize("exchange", [{"personal": ["bias"]}, {"compression": "int8"}], ids=str)
def test_killed_anywhere_a_run_goes_on_with_the_same_digests(exchange: dict[str, Any]) -> None:
    killed_and_resumed(SPEC | {"rounds": 2, "clients": ["north", "south"], "exchange": exchange}, every=5)


@pytest.mark.parametrize(("exchange", "share"), [("float16", 0.6), ("int8", 0.4), ("topk", 0.3)])
def test_compressed_updates_are_smaller_and_the_model_learns(exchange: str, share: float) -> None:
    plain = run(federation())
    state = run(federation(), exchange={"compression": exchange, "fraction": 0.05}, epochs=3)
    sizes = [[len(to_bytes(arrays)) for arrays in objects(one, "/updates/").values()] for one in (plain, state)]
    assert max(sizes[1]) < share * min(sizes[0])
    accuracy = [commit.metrics.values["accuracy"] for commit in state.ledger.commits() if commit.metrics]
    assert accuracy[-1] > accuracy[0] + 0.3


def test_error_feedback_keeps_what_was_lost() -> None:
    state = run(federation(), exchange={"compression": "topk", "fraction": 0.05})
    kept = objects(state, "/client_states/")
    assert all(set(arrays) == {"residual//kernel", "residual//bias"} for arrays in kept.values())
    assert all(np.abs(arrays["residual//kernel"]).max() > 0 for arrays in kept.values())


def test_a_change_that_is_too_large_is_a_refusal() -> None:
    with pytest.raises(QuorumError, match=r"variable '.*' changed by .*, too much for the run's compression"):
        run(federation(), exchange={"compression": "float16"}, learning_rate=1e7)


def test_an_audit_finds_a_plan_whose_variables_do_not_follow_from_the_spec(monkeypatch: Any) -> None:
    monkeypatch.setattr(plan, "parts_of", lambda exchange, model: Parts(shared=["bias"]))
    state = run(federation(), **KERNEL)
    (found,) = verify_run(state.store, "r").problems
    assert found.key == state.keys.spec
    assert found.what.startswith("parts is shared=['bias'] personal=[], expected shared=['kernel']")
