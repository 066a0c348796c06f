"""SCAFFOLD in the compiled pipeline: what the clients keep lies in the store, so another submission goes on with it."""

from support.data import send_clients
from support.inprocess import chain_of

from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore

ONE_ROUND = 33 + 2 * 18
"""Argo nodes of a round of two clients."""


def test_a_run_with_client_state_goes_on_in_another_submission(platform, platform_env, tmp_path):
    clients = send_clients(platform.kafka)
    values = {"model": "builtin:numpy-softmax", "clients": clients, "rounds": 2, "batch_size": 10, "seed": 5}
    values |= {"strategy": "SCAFFOLD", "strategy_config": {"server_learning_rate": 0.9}, "run": "r"}
    assert run_inprocess({**values, "run": "undisturbed"}) == 1
    store = ObjectStore.from_env()

    assert run_pipeline({**values, "node_budget": ONE_ROUND}, tmp_path / "first") == 0
    assert [commit.kind for commit in Ledger(store, "r").commits()] == ["initial", "training"]
    assert run_pipeline({**values, "node_budget": 10**9}, tmp_path / "second") == 2

    commits, undisturbed = (Ledger(store, run).commits() for run in ("r", "undisturbed"))
    assert chain_of(commits) == chain_of(undisturbed)
    assert all(entry.client_state_digest for commit in commits[1:3] for entry in commit.clients)
    assert verify_run(store, "r").problems == []
