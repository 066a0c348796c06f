"""A process that trains client after client gives each the digests of a process of its own:
nothing of one training reaches the next.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from support.data import blobs

from fedstream import steps
from fedstream.catalog.models import add_model
from fedstream.local.inprocess import NO_BUDGET, InProcess
from fedstream.model.files import save_keras
from fedstream.record.documents import Manifest
from fedstream.steps.context import Context
from fedstream.steps.rounds import run_round
from fedstream.store.disk import DiskStore
from fedstream.stream.send import send_dataset
from fedstream.worker.worker import LocalWorker, Refused, ask_for

CLIENTS, ROUNDS = {"a": 60, "b": 47, "c": 90}, 2
SPEC = {
    "run": "warm",
    "model": "odd",
    "clients": list(CLIENTS),
    "rounds": ROUNDS,
    "epochs": 2,
    "batch_size": 7,
    "learning_rate": 0.01,
}
PROCESS_S = 180


def world(folder: Path) -> Context:
    """Return a world whose store is a folder, and whose streams are the same in each process."""
    context = replace(Context.in_memory(), store=DiskStore(folder))
    for seed, (client, records) in enumerate(CLIENTS.items()):
        send_dataset(
            context.brokers.at(""), client, client, *blobs(seed, records), validation_rate=0.0 if client == "b" else 0.2
        )
    return context


class FreshProcesses(InProcess):
    """The steps of a round, each client's in a process of its own."""

    def client(self, client: str) -> Manifest | Refused:
        code = f"from test_warm import update; update({str(self._context.store.root)!r}, {self._where[1]}, {client!r})"  # type: ignore[attr-defined]
        folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {folders!r}; {code}"],
            capture_output=True,
            text=True,
            timeout=PROCESS_S,
        )
        assert done.returncode == 0, done.stderr
        return self._context.run("warm").manifest(self._where[1], client)


def update(folder: str, round: int, client: str) -> None:
    context = world(Path(folder))
    answer = LocalWorker(context).update(ask_for(context, "warm", round, client, "fresh"))
    assert isinstance(answer, Manifest), answer


def odd_model() -> bytes:
    """Return a model with all that could be carried over: moments, moving means, generators, a counter of steps."""
    from fedstream.model import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    inner = [
        layers.Flatten(),
        layers.Dense(12),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.4),
        layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(
        [keras.Input((8, 8)), layers.Rescaling(1 / 16), *inner, layers.Dense(10, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save_keras(model)


def commits(folder: Path, model: bytes, rounds_of: type[InProcess]) -> Iterable[str]:
    context = world(folder)
    add_model(context.store, "odd", model)
    steps.plan_training.within(context, SPEC, NO_BUDGET)
    for number in range(1, ROUNDS + 1):
        steps.open_round.within(context, "warm", ROUNDS, "test", number)
        run_round(rounds_of(context, "warm", number, ROUNDS, "test"))
    keys = context.run("warm").keys
    manifests = [
        context.store.get(keys.at(number).manifest(client)) for number in range(1, ROUNDS + 1) for client in CLIENTS
    ]
    return [context.run("warm").ledger.digest(ROUNDS), *(data.decode() for data in manifests)]


@pytest.mark.timeout(PROCESS_S * len(CLIENTS) * ROUNDS)
def test_a_warm_process_gives_the_digests_of_fresh_ones(tmp_path: Path) -> None:
    model = odd_model()
    assert commits(tmp_path / "warm", model, InProcess) == commits(tmp_path / "fresh", model, FreshProcesses)
