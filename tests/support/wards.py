"""Wards with named columns, some of which are missing, in memory; and a run that preprocesses them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedstream.catalog.models import add_model
from fedstream.local.inprocess import run_inprocess
from fedstream.model.numpy_learner import SoftmaxModel
from fedstream.model.split import split_mask
from fedstream.steps.context import Context
from fedstream.store.state import RunState
from fedstream.stream.send import send_dataset

COLUMNS = ["glucose", "ward", "age"]
RECORDS = {"north": 60, "south": 80, "tiny": 8}
STEPS = [
    {"step": "standardise", "columns": ["glucose", "age"]},
    {"step": "fill_missing"},
    {"step": "one_hot", "columns": ["ward"], "categories": [0, 1, 2]},
]
SPEC: dict[str, Any] = {"run": "r", "model": "wards", "rounds": 2, "preprocessing": {"steps": STEPS}}


def ward(client: str, unit: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return records of a client, with glucose in a unit of its own."""
    rng, count = np.random.default_rng(sum(client.encode())), RECORDS[client]
    columns = [rng.normal(100, 30, count) / unit, rng.integers(0, 3, count), rng.normal(50, 20, count)]
    x = np.stack(columns, axis=1).astype(np.float32)
    labels = (x[:, 1] == 1).astype(np.int64)
    x[::9, 2] = np.nan
    return x, labels


def send(context: Context, client: str, unit: float = 1.0) -> None:
    x, y = ward(client, unit)
    send_dataset(context.brokers.at(""), client, client, x, y, features=COLUMNS, allow_nan=True, validation_rate=0.2)


def wards(context: Context | None = None, clients: tuple[str, ...] = tuple(RECORDS), **units: float) -> Context:
    """Return a context in which the clients have announced records, and a model of five inputs is added."""
    context = context or Context.in_memory()
    for client in clients:
        send(context, client, units.get(client, 1.0))
    add_model(context.store, "wards", SoftmaxModel(input_shape=[5], classes=2).to_bytes())
    return context


def run(context: Context, **fields: Any) -> RunState:
    run_inprocess(SPEC | fields, context=context)
    context.runs.clear()
    return context.run("r")


def trained(client: str, unit: float = 1.0) -> np.ndarray:
    """Return the records of a client that it does not hold out."""
    x, _ = ward(client, unit)
    return x[~split_mask(0, np.zeros(len(x), np.int32), np.arange(len(x)), 0.2)]
