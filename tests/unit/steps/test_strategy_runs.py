"""Whole runs with server state, client state, other weights and partial work: learning, verified, resumed."""

import math
import random

import numpy as np
import pytest
from support.inprocess import context_of, killed_and_resumed, rounds_until, send

from fedstream.audit import verify_run
from fedstream.errors import QuorumError
from fedstream.local.inprocess import run_inprocess
from fedstream.record.canonical import canonical_json
from fedstream.record.weights import from_bytes

CLIENTS = ["a", "b", "c"]
SPEC = {"run": "r", "model": "builtin:numpy-softmax", "clients": CLIENTS, "rounds": 3, "epochs": 2, "batch_size": 10}
STRATEGIES = {
    "FedAvgM": {"nesterov": True},
    "FedAdagrad": {},
    "FedYogi": {},
    "FedOpt": {"optimizer": "sgdm", "server_learning_rate": 0.5},
    "FedNova": {"mu": 0.1},
    "QFedAvg": {"q": 0.5},
    "SCAFFOLD": {},
}


def run_of(strategy, **fields):
    context = context_of()
    send(context, *CLIENTS)
    spec = SPEC | {"strategy": strategy, "strategy_config": STRATEGIES.get(strategy, {})} | fields
    assert run_inprocess(spec, context=context) == 1
    return context


def training(context):
    return [commit for commit in context.run("r").ledger.commits() if commit.kind == "training"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_learns_and_is_verified(strategy):
    context = run_of(strategy)
    measured = [commit.metrics.values["loss"] for commit in context.run("r").ledger.commits() if commit.metrics]
    assert measured[-1] < measured[0]
    assert verify_run(context.store, "r").problems == []


@pytest.mark.parametrize("strategy", ["FedAvgM", "SCAFFOLD"])
def test_killed_at_any_write_and_started_again_it_comes_to_the_same_digests(strategy):
    killed_and_resumed(SPEC | {"strategy": strategy, "client_fraction": 0.67, "seed": 2}, every=7)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_travels_and_how_large_it_is_can_be_limited_too(strategy):
    exchange = {"personal": ["bias"], "compression": "int8"}
    context = run_of(strategy, exchange=exchange, clipping={"norm": 0.5}, client_fraction=0.67, rounds=4)
    assert verify_run(context.store, "r").problems == []
    commits = training(context)
    assert all("clipping_norm" in commit.figures for commit in commits)
    assert len({commit.weights_digest for commit in commits}) == 4


def arrays(context, key):
    return from_bytes(context.store.get(key), key)


def test_the_servers_variate_is_the_mean_over_all_clients_of_the_run():
    context = run_of("SCAFFOLD", client_fraction=0.67, rounds=4)
    keys, own = context.run("r").keys, {}
    for commit in training(context):
        assert sum(entry.accepted for entry in commit.clients) == 2
        for entry in commit.clients:
            own[entry.client] = arrays(
                context, keys.at(commit.round).client_state(entry.client, entry.client_state_digest)
            )
        for name, c in arrays(context, keys.at(commit.round).server_state).items():
            mean = sum(state[name].astype(float) for state in own.values()) / 3
            assert c == pytest.approx(mean, abs=1e-6)
        assert commit.broadcast_digest == commit.server_state_digest


def test_any_byte_of_what_scaffold_keeps():
    context, rng = run_of("SCAFFOLD", rounds=2), random.Random(1)
    objects = context.store.objects
    keys = [key for key in objects if any(kind in key for kind in ("server_state", "broadcast", "client_states"))]
    assert len(keys) == 2 + 3 + 6
    for key in keys:
        data, at = objects[key]
        for position in rng.sample(range(len(data)), 4):
            objects[key] = data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :], at
            assert {problem.key for problem in verify_run(context.store, "r").problems} == {key}
        objects[key] = data, at


def first_update(context):
    (entry, *_) = training(context)[0].clients
    return arrays(context, context.run("r").keys.at(1).update(entry.client, entry.update_digest))


def test_scaffold_trains_other_models_than_fedavg_from_its_second_round_on():
    scaffold, fedavg = run_of("SCAFFOLD"), run_of("FedAvg", outlier_bound=0)
    one, other = (first_update(context)["kernel"] for context in (scaffold, fedavg))
    assert one.tobytes() == other.tobytes(), "in round 1 the variates are zero"
    assert training(scaffold)[1].weights_digest != training(fedavg)[1].weights_digest


def test_fednova_knows_the_steps_of_each_client_from_what_is_on_record():
    (commit, *_) = training(run_of("FedNova", strategy_config={}))
    steps = {entry.client: 2 * math.ceil(entry.num_examples / 10) for entry in commit.clients}
    total = sum(entry.num_examples for entry in commit.clients)
    expected = sum(entry.num_examples / total * steps[entry.client] for entry in commit.clients)
    assert len(set(steps.values())) > 1
    assert commit.figures["effective_steps"] == pytest.approx(expected)


def test_qfedavg_hears_the_loss_of_the_received_model_on_the_records_that_are_trained_on():
    (first, *_) = training(run_of("QFedAvg"))
    assert first.figures["largest_loss"] == pytest.approx(np.log(10), abs=1e-9), "that of a model of zeros"


SLOW = {"epochs": 5, "round_deadline_s": 1e-6}
"""A deadline that passes in the first epoch."""


@pytest.mark.parametrize("strategy", ["FedProx", "FedNova"])
def test_a_client_that_reaches_its_deadline_sends_the_epochs_that_it_finished(strategy):
    context = run_of(strategy, **SLOW, rounds=2, strategy_config={})
    for commit in training(context):
        assert [entry.epochs for entry in commit.clients] == [1, 1, 1]
        assert [context.run("r").manifest(commit.round, client).epochs for client in CLIENTS] == [1, 1, 1]
        if strategy == "FedNova":
            shares = [(entry.num_examples, math.ceil(entry.num_examples / 10)) for entry in commit.clients]
            mean = sum(n * steps for n, steps in shares) / sum(n for n, _ in shares)
            assert commit.figures["effective_steps"] == pytest.approx(mean)
    assert verify_run(context.store, "r").problems == []


def test_the_model_of_partial_work_is_that_of_its_whole_epochs():
    partial, whole = (run_of("FedProx", rounds=1, **fields) for fields in (SLOW, {"epochs": 1}))
    updates = [[entry.update_digest for entry in training(context)[0].clients] for context in (partial, whole)]
    assert updates[0] == updates[1]
    assert b"epochs" not in whole.store.get("runs/r/rounds/0001/updates/a.json")


def test_without_partial_work_a_passed_deadline_is_a_refusal():
    context = context_of()
    send(context, *CLIENTS)
    with pytest.raises(QuorumError, match="a: training passed the round's deadline; give the round more time"):
        run_inprocess(SPEC | SLOW | {"strategy": "FedAvg"}, context=context)


@pytest.mark.parametrize(
    ("strategy", "epochs", "said"),
    [
        ("FedAvg", 1, "it ended after 1 epochs, but the strategy accepts no partial work"),
        ("FedProx", 2, "epochs is 2, but partial work has at least 1 and fewer than 2"),
        ("FedProx", 0, "epochs is 0, but partial work has at least 1 and fewer than 2"),
    ],
)
def test_partial_work_that_cannot_be_gets_a_verdict(strategy, epochs, said):
    context = context_of()
    send(context, *CLIENTS)
    steps = rounds_until(context, SPEC | {"strategy": strategy}, 1)
    for client in steps.select_clients():
        steps.client(client)
    key, manifest = context.run("r").keys.at(1).manifest("b"), context.run("r").manifest(1, "b")
    changed = manifest.model_copy(update={"epochs": epochs}).model_dump(mode="json")
    context.store.objects[key] = canonical_json(changed), context.store.objects[key][1]
    context.runs.clear()
    with pytest.raises(QuorumError, match=f"b: {said}"):
        steps.aggregate([])
