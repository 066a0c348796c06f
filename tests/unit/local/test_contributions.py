"""What clients contributed, over a whole run in memory: recorded, summed up, and checked by an audit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fedstream.audit import verify_run
from fedstream.errors import SpecError
from fedstream.local.inprocess import run_inprocess
from fedstream.record.canonical import canonical_json
from fedstream.record.layout import RunKeys
from fedstream.report.contributions import contribution_rows
from fedstream.report.history import to_history
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.store.memory import MemoryStore
from fedstream.stream.send import send_dataset

SPEC = {
    "run": "r",
    "model": "builtin:numpy-softmax",
    "rounds": 2,
    "epochs": 2,
    "batch_size": 10,
    "clients": ["north", "south", "wrong"],
    "evaluation_topic": "judge",
    "leave_one_out": True,
}


def send(context: Context, client: str, seed: int, records: int, shift: int = 0) -> None:
    """Send pictures whose brightest place says the label; a shift makes all labels wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, records).astype(np.uint8)
    pictures = rng.integers(0, 4, (records, 8, 8)).astype(np.uint8)
    pictures.reshape(records, 64)[np.arange(records), labels * 6] = 16
    send_dataset(context.brokers.at(""), client, client, pictures, (labels + shift) % 10, validation_rate=0.2)


@pytest.fixture(scope="module")
def context() -> Context:
    context = Context.in_memory()
    for seed, (client, records, shift) in enumerate(
        [("north", 200, 0), ("south", 100, 0), ("wrong", 100, 5), ("judge", 100, 0)]
    ):
        send(context, client, seed, records, shift)
    run_inprocess(SPEC, context=context)
    return context


def test_the_client_with_wrong_labels_is_worth_less_than_nothing(context: Context) -> None:
    rows = {row.client: row for row in contribution_rows(build_view(context.store, "r"))}
    assert [row.rounds for row in rows.values()] == [2, 2, 2]
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    assert rows["north"].share > 1.5 * rows["south"].share
    assert rows["wrong"].cosine < min(rows["north"].cosine, rows["south"].cosine)
    assert rows["wrong"].value < 0 < rows["north"].value
    assert all(row.norm > 0 for row in rows.values())


def test_report_and_history_show_it(context: Context) -> None:
    view = build_view(context.store, "r")
    page = render_report(view)
    assert "What did each client contribute?" in page
    assert '<th scope="col" class="n">value</th>' in page
    frame = to_history(view).clients
    assert frame[frame["round"] == 1][["share", "norm", "cosine", "value"]].notna().all().all()


def test_an_audit_repeats_the_sums_and_the_measurements(context: Context) -> None:
    audit = verify_run(context.store, "r", brokers=context.brokers)
    assert audit.ok, audit.problems


def forged(context: Context, change: Any) -> MemoryStore:
    """Return a copy of the store with a changed last commit, and an aggregation.json that agrees with it."""
    store, keys = MemoryStore(), RunKeys("r").at(2)
    for info in context.store.list(""):
        data = context.store.get(info.key)
        if info.key.startswith("models/") and "/initial/" not in info.key:
            continue  # Versions name the commit by its digest.
        if info.key == keys.commit:
            commit = json.loads(data)
            change(commit)
            data = canonical_json(commit)
            said = {entry["client"]: entry["contribution"] for entry in commit["clients"]}
        store.put_new(info.key, data)
    beside = json.loads(store.get(keys.aggregation))
    store.remove(keys.aggregation)
    store.put_new(keys.aggregation, canonical_json(beside | {"contributions": said}))
    return store


def test_a_forged_contribution_is_found(context: Context) -> None:
    def change(commit: dict[str, Any]) -> None:
        commit["clients"][2]["contribution"]["cosine"] = 0.99

    problems = [str(problem) for problem in verify_run(forged(context, change), "r").problems]
    assert any("contributions is" in problem and "expected" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda commit: commit["left_out"].update(wrong=0.01), "without wrong, its model has 0.01, but measured again"),
        (
            lambda commit: commit["left_out"].pop("wrong"),
            "it says what the model is without north, south, but that can be measured without north, south, wrong",
        ),
    ],
)
def test_a_forged_value_is_found_with_the_records(context: Context, change: Any, said: str) -> None:
    problems = [problem.what for problem in verify_run(forged(context, change), "r", brokers=context.brokers).problems]
    assert any(said in problem for problem in problems), problems


def test_it_needs_an_evaluation_topic() -> None:
    with pytest.raises(
        SpecError, match="leave_one_out measures models on an evaluation topic; name one in evaluation_topic"
    ):
        run_inprocess(SPEC | {"evaluation_topic": ""}, context=Context.in_memory())
