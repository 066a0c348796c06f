"""Whole runs in this process: streams and store in memory, and a model in numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fedstream import steps
from fedstream.local.inprocess import NO_BUDGET, InProcess, run_inprocess
from fedstream.record.commit import Commit
from fedstream.steps import rounds as order
from fedstream.steps.context import Context
from fedstream.store.memory import MemoryStore
from fedstream.store.store import Store
from fedstream.stream.send import send_dataset


class Killed(BaseException):
    """The process ends here; no step catches it."""


class DyingStore(MemoryStore):
    """A store whose process dies where it would write for the n-th time."""

    def __init__(self, writes: int | None) -> None:
        super().__init__()
        self.left = writes

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        if self.left is not None:
            if self.left == 0:
                raise Killed(key)
            self.left -= 1
        return super().put_if_match(key, data, etag)


def context_of(store: Store | None = None) -> Context:
    """Return a context without servers, with a store of its own or the given one."""
    context = Context.in_memory()
    return replace(context, store=store) if store else context


def pictures(seed: int, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 8 x 8 pictures with one bright pixel, whose place is the class; a seed has its own share of classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(10, records, p=np.roll(np.arange(1, 11) / 55, 3 * seed)).astype(np.uint8)
    x = rng.integers(0, 7, (records, 64)).astype(np.uint8)
    x[np.arange(records), labels * 6] = 16
    return x.reshape(records, 8, 8), labels


def send(context: Context, *clients: str) -> None:
    """Send the records of each client, and announce them."""
    for client in clients:
        seed = sum(client.encode())
        x, y = pictures(seed, 60 + seed % 7 * 10)
        send_dataset(context.brokers.at(""), client, client, x, y, validation_rate=0.2)


def rounds_until(context: Context, spec: dict[str, Any], round: int) -> InProcess:
    """Run all rounds before one, open that, and return its steps."""
    slots = steps.plan_training.within(context, spec, NO_BUDGET)
    for slot in slots:
        number, _ = steps.open_round.within(context, spec["run"], spec["rounds"], "first", slot)
        opened = InProcess(context, spec["run"], number, spec["rounds"], "first")
        if number == round:
            return opened
        order.run_round(opened)
    raise AssertionError(f"the run has no round {round}")


def chain_of(commits: list[Commit]) -> list[Any]:
    """Return what commits say of their models, of what lies beside them, and of their clients' updates and states."""
    return [
        (
            (c.weights_digest, c.server_state_digest, c.broadcast_digest, c.figures, c.metrics),
            [(e.client, e.accepted, e.update_digest, e.client_state_digest, e.epochs) for e in c.clients],
        )
        for c in commits
    ]


def chain(context: Context, run: str = "r") -> list[Any]:
    return chain_of(context.run(run).ledger.commits())


def killed_and_resumed(spec: dict[str, Any], every: int) -> None:
    """Kill a run at every n-th write in turn, let it go on, and compare its chain with an undisturbed run's."""
    undisturbed, writes = context_of(), every
    send(undisturbed, *spec["clients"])
    run_inprocess(spec, context=undisturbed)
    while True:
        store = DyingStore(writes)
        context = context_of(store)
        send(context, *spec["clients"])
        try:
            run_inprocess(spec, context=context)
        except Killed:
            store.left = None
            context.runs.clear()
            assert run_inprocess(spec, context=context) > 0
            assert chain(context) == chain(undisturbed), f"killed at write {writes}"
            writes += every
            continue
        assert writes > 10 * spec["rounds"]
        return
