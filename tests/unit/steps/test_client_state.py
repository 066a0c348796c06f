"""What a client keeps from one round to the next: found from the ledger alone, judged, and verified byte by byte."""

import random
import sys

import numpy as np
import pytest
from support.inprocess import context_of, killed_and_resumed, rounds_until, send
from support.strategies import install

from fedstream.audit import verify_run
from fedstream.errors import QuorumError
from fedstream.local.inprocess import InProcess, run_inprocess
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.weights import from_bytes, to_bytes
from fedstream.steps.rollback import rollback

SPEC = {
    "run": "r",
    "model": "builtin:numpy-softmax",
    "clients": ["a", "b"],
    "rounds": 3,
    "batch_size": 10,
    "strategy": "FedCounting",
}


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(
        install(tmp_path / "installed", value="support.strategies:FedCounting", name="FedCounting")
    )
    assert sys.path


@pytest.fixture
def context():
    context = context_of()
    send(context, "a", "b")
    return context


def entries(context, client):
    """Return what the commits of the training rounds say of a client."""
    commits = context.run("r").ledger.commits()
    return {
        commit.round: entry
        for commit in commits
        if commit.kind == "training"
        for entry in commit.clients
        if entry.client == client
    }


def key_of(context, client, round):
    return context.run("r").keys.at(round).client_state(client, entries(context, client)[round].client_state_digest)


def seen(context, client, round):
    return int(from_bytes(context.store.get(key_of(context, client, round)), "")["seen"][0])


def test_a_client_finds_what_it_kept_in_its_last_round(context):
    assert run_inprocess(SPEC, context=context) == 1
    for client in SPEC["clients"]:
        assert [seen(context, client, round) for round in (1, 2, 3)] == [1, 2, 3]
        manifests = [context.run("r").manifest(round, client).client_state_digest for round in (1, 2, 3)]
        assert manifests == [entry.client_state_digest for entry in entries(context, client).values()]
    assert verify_run(context.store, "r").problems == []


def test_nothing_of_it_is_on_record_in_a_run_without_such_a_strategy(context):
    run_inprocess(SPEC | {"strategy": "FedAvg", "rounds": 1}, context=context)
    assert not [info.key for info in context.store.list("runs/") if "client_states" in info.key]
    assert not [info.key for info in context.store.list("runs/") if b"client_state" in context.store.get(info.key)]


def test_a_client_that_is_not_asked_keeps_what_it_has(context):
    send(context, "c")
    run_inprocess(SPEC | {"clients": ["a", "b", "c"], "client_fraction": 0.6, "rounds": 5, "seed": 4}, context=context)
    took_part = {client: list(entries(context, client)) for client in "abc"}
    assert {len(rounds) for rounds in took_part.values()} != {5}
    for client, rounds in took_part.items():
        assert [seen(context, client, round) for round in rounds] == list(range(1, len(rounds) + 1))


def test_what_a_rollback_reverted_does_not_count(context):
    run_inprocess(SPEC, context=context)
    rollback(context.run("r"), 1)
    run_inprocess(SPEC, context=context)
    kinds = [commit.kind for commit in context.run("r").ledger.commits()]
    assert kinds == ["initial", *["training"] * 3, "closing", "rollback", "training", "training", "closing"]
    assert [seen(context, "a", round) for round in (3, 6, 7)] == [3, 2, 3]
    assert verify_run(context.store, "r").problems == []


def test_a_rejected_update_leaves_its_client_with_what_it_had(context):
    steps = rounds_until(context, SPEC | {"min_clients": 1}, 2)
    steps.select_clients()
    for client in SPEC["clients"]:
        steps.client(client)
    change_manifest(context, 2, "b", num_examples=10**6)
    steps.aggregate([])
    steps.evaluate()
    context.runs.clear()
    InProcess(context, "r", 3, 3, "again").client("a")
    run_inprocess(SPEC | {"min_clients": 1}, context=context)
    assert [seen(context, "a", round) for round in (1, 2, 3)] == [1, 2, 3]
    assert entries(context, "b")[2].client_state_digest is None
    assert [seen(context, "b", round) for round in (1, 3)] == [1, 2]
    assert verify_run(context.store, "r").problems == []


def change_manifest(context, round, client, **fields):
    store, key = context.store, context.run("r").keys.at(round).manifest(client)
    manifest = context.run("r").manifest(round, client).model_copy(update=fields)
    store.objects[key] = canonical_json(manifest.model_dump(mode="json")), store.objects[key][1]
    context.runs.clear()


def state_of(**arrays):
    return to_bytes({name: np.asarray(array) for name, array in arrays.items()})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "its manifest names no client state, which the run asks for"),
        (b"", "there is no object"),
        (b"x", "holds no valid safetensors"),
        (state_of(other=np.zeros(1, np.int64)), "client state array 'seen' is missing"),
        (state_of(seen=np.zeros(2, np.int64)), r"client state array 'seen' has shape \(2,\), expected \(1,\)"),
        (state_of(seen=np.zeros(1)), "client state array 'seen' has dtype float64, expected int64"),
        (
            state_of(seen=np.zeros(1, np.int64), more=np.zeros(1)),
            "client state array 'more' is not in what the run asks for",
        ),
    ],
)
def test_a_state_that_is_not_what_the_rule_declares_gets_a_verdict(context, state, said):
    steps = rounds_until(context, SPEC, 1)
    steps.select_clients()
    for client in SPEC["clients"]:
        steps.client(client)
    digest = None if state is None else sha256_hex(state)
    if state:
        context.store.put_new(context.run("r").keys.at(1).client_state("b", digest), state)
    change_manifest(context, 1, "b", client_state_digest=digest)
    with pytest.raises(QuorumError, match=f"b: .*{said}"):
        steps.aggregate([])


def test_a_state_that_nobody_asked_for_gets_a_verdict(context):
    steps = rounds_until(context, SPEC | {"strategy": "FedAvg"}, 1)
    steps.select_clients()
    for client in SPEC["clients"]:
        steps.client(client)
    change_manifest(context, 1, "b", client_state_digest="0" * 64)
    with pytest.raises(QuorumError, match="b: its manifest names a client state, which the run does not ask for"):
        steps.aggregate([])


def test_a_closing_round_keeps_nothing(context):
    steps = rounds_until(context, SPEC | {"rounds": 1}, 2)
    steps.select_clients()
    for client in SPEC["clients"]:
        steps.client(client)
    change_manifest(context, 2, "b", client_state_digest="0" * 64)
    steps.aggregate([])
    steps.evaluate()
    context.runs.clear()
    reasons = {entry.client: entry.reason for entry in context.run("r").ledger.commit(2).clients}
    assert reasons["b"] == "its manifest names a client state, but this round only measures"


def test_any_flipped_byte_is_named_by_verify_and_stops_only_its_client(context):
    steps, rng = rounds_until(context, SPEC | {"min_clients": 1}, 2), random.Random(1)
    steps.select_clients()
    key = key_of(context, "b", 1)
    data, at = context.store.objects[key]
    for position in rng.sample(range(len(data)), 20):
        flipped = data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :]
        context.store.objects[key] = flipped, at
        assert {problem.key for problem in verify_run(context.store, "r").problems} == {key}
    assert steps.client("b").reason == (
        f"what b kept in round 1 cannot be read: {key} has digest {sha256_hex(flipped)}, but {sha256_hex(data)} is on "
        "record; it was changed after it was written; restore that object, or go back to a round before it with "
        "`fedstream rollback r`"
    )
    assert steps.client("a").client == "a"


def test_a_missing_state_is_named_and_stops_only_its_client(context):
    steps = rounds_until(context, SPEC | {"min_clients": 1}, 2)
    steps.select_clients()
    key = key_of(context, "b", 1)
    context.store.remove(key)
    assert [(p.key, p.what) for p in verify_run(context.store, "r").problems] == [(key, "is missing")]
    assert steps.client("b").reason.startswith(f"what b kept in round 1 cannot be read: there is no object {key!r}")
    assert steps.client("a").client == "a"


def test_a_state_of_a_stranger_is_named(context):
    run_inprocess(SPEC | {"rounds": 1}, context=context)
    key = context.run("r").keys.at(1).client_state("stranger", sha256_hex(b"x"))
    context.store.put_new(key, b"x")
    assert [problem.key for problem in verify_run(context.store, "r").problems] == [key]


def test_killed_at_any_write_and_started_again_it_comes_to_the_same_digests():
    killed_and_resumed(SPEC, every=3)
