"""A client withdraws while a run trains on its records."""

import numpy as np
from support.inprocess import rounds_until

from fedstream.audit.verify import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.steps import rounds as order
from fedstream.steps.context import Context
from fedstream.stream.announced import withdraw
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.send import send_dataset


def test_a_round_after_the_withdrawal_goes_on_without_the_client(kafka, topic, store):
    """Every context is a process of its own, as in a cluster."""
    clients = [f"{topic}.a", f"{topic}.b"]
    for seed, client in enumerate(clients):
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, 16, (40, 8, 8)).astype(np.uint8), rng.integers(0, 10, 40).astype(np.uint8)
        send_dataset(kafka, client, client, x, y, validation_rate=0.2)
    spec = {"run": "r", "model": "builtin:numpy-softmax", "clients": clients, "rounds": 2, "min_clients": 1}

    def process() -> Context:
        return Context(store, KafkaBrokers(kafka))

    order.run_round(rounds_until(process(), spec, 1))
    assert withdraw(kafka, clients[0]) == [clients[0]]
    run_inprocess(spec, context=process())
    state = process().run("r")
    assert [len([e for e in commit.clients if e.accepted]) for commit in state.ledger.commits()[1:]] == [2, 1, 1]
    assert f"its client has withdrawn topic {clients[0]!r} since the run was planned" in (
        state.ledger.commit(2).clients[0].reason
    )
    assert verify_run(store, "r", brokers=KafkaBrokers(kafka)).ok
