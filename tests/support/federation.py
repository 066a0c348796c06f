"""Runs of the model in numpy on the store in memory, and what they leave there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.inprocess import context_of, send

from fedstream.local.inprocess import run_inprocess
from fedstream.record.weights import Weights, from_bytes
from fedstream.steps.context import Context
from fedstream.store.state import RunState

SPEC: dict[str, Any] = {"run": "r", "model": "builtin:numpy-softmax", "rounds": 3, "batch_size": 10}


def federation(*clients: str) -> Context:
    """Return a context in which the clients have announced records."""
    context = context_of()
    send(context, *(clients or ("north", "south")))
    return context


def run(context: Context, **fields: Any) -> RunState:
    """Run to the end, and return the state of the run."""
    run_inprocess(SPEC | fields, context=context)
    return context.run("r")


def run_in_pieces(context: Context, **fields: Any) -> RunState:
    """Run round by round, each in a new process that knows only the store and the brokers."""
    for _ in range(10):
        context = replace(Context.in_memory(), store=context.store, brokers=context.brokers)
        if run_inprocess(SPEC | fields, node_budget=1, context=context):
            return context.run("r")
    raise AssertionError("the run does not end")


def objects(state: RunState, folder: str) -> dict[str, Weights]:
    """Return the arrays of all safetensors of a run whose keys contain a text."""
    listed = [info.key for info in state.store.list(f"{state.keys.root}/") if info.key.endswith(".safetensors")]
    return {key: from_bytes(state.store.get(key), key) for key in listed if folder in key}


def digests(state: RunState) -> list[str]:
    """Return the digests of the global models of all rounds."""
    return [commit.weights_digest for commit in state.ledger.commits()]
