"""Runs to report on: the real documents, under the real keys, in a store in memory."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fedstream import __version__
from fedstream.record.commit import ClientEntry, Commit, Decision
from fedstream.record.decision import rolled_back
from fedstream.record.documents import Manifest, Metrics, Refusal, Selection, SliceDoc, SliceRange
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.record.run import RunRecord
from fedstream.store.ledger import Ledger
from fedstream.store.memory import MemoryStore

CONFIG = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "8 8", "label_reshape": ""}


def digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def wobble(*parts: object) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return int(digest(*parts)[:8], 16) / 2**32


def metrics(examples: int, accuracy: float, loss: float, classes: int = 10) -> Metrics:
    """Metrics whose confusion matrix has this accuracy, as nearly as whole records allow."""
    matrix = [[0] * classes for _ in range(classes)]
    for record in range(examples):
        label = record % classes
        wrong = wobble("confusion", record, examples) >= accuracy
        matrix[label][(label + 1 + record % 3) % classes if wrong else label] += 1
    return Metrics(num_examples=examples, values={"accuracy": accuracy, "loss": loss}, confusion=matrix)


def make_run(
    store: MemoryStore,
    clients: list[str],
    rounds: int,
    *,
    asked: int | None = None,
    refuse: Callable[[int, str], str] = lambda round, client: "",
    closing: bool = True,
    announcements: list[dict[str, Any]] | None = None,
    records: Callable[[str], int] = lambda client: 400 + int(300 * wobble("records", client)),
    confusion: bool = True,
    spec: dict[str, Any] | None = None,
    features: list[str] | None = None,
    classes: list[str] | None = None,
    epochs: Mapping[tuple[int, str], int] = {},
) -> str:
    """Write a run under federated evaluation as the steps write it, and return its name."""
    run = "digits"
    rows = announcements or [
        {
            "bootstrap_servers": "",
            "partition": 0,
            "offset": number,
            "client": client,
            "accepted": True,
            "reason": "takes part",
        }
        for number, client in enumerate(clients)
    ]
    matched = [
        {
            "client": client,
            "bootstrap_servers": "",
            "ranges": f"{client}-data:0:0:{records(client)}",
            "input_config": CONFIG,
            "held_out_rate": 0.2,
            "records": records(client),
        }
        for client in clients
    ]
    model = {"name": "builtin:digits-mlp", "keras_digest": digest("keras"), "weights_digest": digest("weights", 0)}
    values = {"run": run, "model": model["name"], "rounds": asked or rounds, "epochs": 2, "target_value": 0.95} | (
        spec or {}
    )
    record = RunRecord.model_validate(
        {
            "spec": values,
            "model": model | {"description_digest": digest("description")},
            "clients": matched,
            "evaluation": None,
            "announcements": rows,
            "features": features or [],
            "classes": classes or [],
        }
    )
    keys, ledger = RunKeys(run), Ledger(store, run)
    description = {
        **model,
        "input_shape": [8, 8],
        "output_shape": [10],
        "num_classes": 10,
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "variables": [
            {"name": "dense/kernel", "shape": [64, 10], "dtype": "float32"},
            {"name": "dense/bias", "shape": [10], "dtype": "float32"},
        ],
    }
    store.put_new_json(ModelKeys(model["name"]).initial(model["keras_digest"], "json"), description)
    parent = store.put_new_json(keys.spec, record.model_dump(mode="json"))
    initial = Decision(action="continue", reason="initial model")
    ledger.append(
        Commit(
            run=run,
            round=0,
            kind="initial",
            parent=parent,
            base_digest=digest("weights", 0),
            weights_digest=digest("weights", 0),
            decision=initial,
            code_version=__version__,
        )
    )
    for number in range(1, rounds + 1 + closing):
        _round(store, ledger, record, number, "closing" if number > rounds else "training", refuse, confusion, epochs)
    return run


def accuracy_of(round: int, client: str) -> float:
    """Held-out accuracy of a round's global model at a client: rises, saturates, differs by client."""
    return round_to(
        min(
            0.99,
            0.96
            - 0.86 * math.exp(-round / 2.5)
            - 0.12 * wobble("level", client)
            + 0.03 * (wobble("noise", client, round) - 0.5),
        )
    )


def round_to(value: float) -> float:
    return float(f"{max(value, 0.02):.6f}")


def _round(
    store: MemoryStore,
    ledger: Ledger,
    record: RunRecord,
    number: int,
    kind: Any,
    refuse: Callable[[int, str], str],
    confusion: bool,
    epochs: Mapping[tuple[int, str], int] = {},
) -> None:
    run, keys = record.spec.run, RunKeys(record.spec.run).at(number)
    names = [client.client for client in record.clients]
    store.put_new_json(
        keys.selection, Selection(run=run, round=number, kind=kind, clients=names).model_dump(mode="json")
    )
    entries = []
    for client in record.clients:
        reason, baseline = refuse(number, client.client), record.spec.baseline and number == 1
        entry = _entry(store, run, number, kind, client.client, client.records, reason, confusion, baseline)
        entries.append(entry.model_copy(update={"epochs": epochs.get((number, client.client))}))
    incoming = [entry.incoming for entry in entries if entry.incoming]
    total = sum(item.num_examples for item in incoming)
    values = {
        name: sum(item.values[name] * item.num_examples for item in incoming) / total for name in ("accuracy", "loss")
    }
    matrix = (
        [
            [sum(cells) for cells in zip(*rows, strict=True)]
            for rows in zip(*(item.confusion for item in incoming), strict=True)
        ]
        if confusion
        else None
    )
    ledger.append(
        Commit(
            run=run,
            round=number,
            kind=kind,
            parent=ledger.digest(number - 1),
            base_digest=digest("weights", number - 1),
            weights_digest=digest("weights", number if kind == "training" else number - 1),
            clients=entries,
            measured_round=number - 1,
            metrics=Metrics(num_examples=total, values=values, confusion=matrix),
            decision=Decision(action="continue", reason=""),
            verdicts_digest=digest("verdicts", number),
            code_version=__version__,
        )
    )


def _entry(
    store: MemoryStore,
    run: str,
    number: int,
    kind: str,
    client: str,
    records: int,
    reason: str,
    confusion: bool,
    baseline: bool,
) -> ClientEntry:
    keys = RunKeys(run).at(number)
    if reason:
        refusal = Refusal(client=client, step="ingest", reason=reason)
        store.put_new_json(keys.refusal("first", client), refusal.model_dump(mode="json"))
        return ClientEntry(
            client=client,
            accepted=False,
            reason=reason,
            num_examples=0,
            update_digest=None,
            manifest_digest=None,
            slice_digest=None,
            ranges=[],
            incoming=None,
            trained=None,
        )
    held_out, ranges = records // 5, [SliceRange(topic=f"{client}-data", partition=0, start=0, end=records)]
    accuracy = accuracy_of(number - 1, client)
    received = metrics(held_out, accuracy, round_to(2.4 * (1 - accuracy)))
    trained = (
        metrics(held_out, round_to(min(0.995, accuracy + 0.04)), round_to(2.2 * (1 - accuracy)))
        if kind == "training"
        else None
    )
    if not confusion:
        received, trained = (
            received.model_copy(update={"confusion": None}),
            trained and trained.model_copy(update={"confusion": None}),
        )
    dealt = {str(label): int(records * share) for label, share in _shares(client).items()}
    document = SliceDoc(
        client=client,
        bootstrap_servers="",
        ranges=ranges,
        records=records,
        input_config=CONFIG,
        class_counts=dealt,
        digest=digest("slice", client),
    )
    slice_document = store.put_new_json(keys.slice(client), document.model_dump(mode="json"))
    manifest = Manifest(
        run=run,
        round=number,
        client=client,
        base_digest=digest("weights", number - 1),
        update_digest=digest("update", client, number) if kind == "training" else None,
        num_examples=records - held_out if kind == "training" else held_out,
        slice_key=keys.slice(client),
        slice_digest=document.digest,
        slice_document=slice_document,
        seed=1,
        threads=2,
        device="CPU",
        code_version=__version__,
        measure_only=kind == "closing",
        incoming=received,
        trained=trained,
        training=None,
        alone=metrics(held_out, round_to(0.5 + 0.2 * wobble("alone", client)), 0.7) if baseline else None,
    )
    return ClientEntry(
        client=client,
        accepted=True,
        reason="valid",
        num_examples=manifest.num_examples,
        update_digest=manifest.update_digest,
        manifest_digest=store.put_new_json(keys.manifest(client), manifest.model_dump(mode="json")),
        slice_digest=document.digest,
        ranges=ranges,
        incoming=received,
        trained=trained,
    )


def roll_back(store: MemoryStore, run: str, to: int) -> None:
    """Append the commit that goes back to a round's model."""
    ledger = Ledger(store, run)
    commits = ledger.commits()
    ledger.append(rolled_back(commits, ledger.digest(commits[-1].round), to))


def train_round(
    store: MemoryStore, run: str, kind: str = "training", refuse: Callable[[int, str], str] = lambda round, client: ""
) -> None:
    """Append one more round, in which every client takes part that does not refuse."""
    ledger = Ledger(store, run)
    record = RunRecord.model_validate_json(store.get(RunKeys(run).spec))
    _round(store, ledger, record, len(ledger.commits()), kind, refuse, True)


def _shares(client: str) -> dict[int, float]:
    raw = {label: wobble("class", client, label) ** 3 + 0.01 for label in range(10)}
    return {label: value / sum(raw.values()) for label, value in raw.items()}


@pytest.fixture
def bucket() -> MemoryStore:
    """Return a store whose clock moves on two seconds a write."""
    times = (datetime(2026, 1, 31, 12, 0, tzinfo=UTC) + timedelta(seconds=2 * number) for number in itertools.count(1))
    return MemoryStore(lambda: next(times))


@pytest.fixture
def run_of() -> Callable[..., str]:
    return make_run
