"""What a RunView says, against the documents it was read from."""

from __future__ import annotations

import pytest

from fedstream.errors import RunError
from fedstream.record.documents import Metrics, Refusal, Selection
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.report.html import render_report
from fedstream.report.tables import PartialRow, class_rows, client_rows, partial_rows, refusal_rows, slice_rows
from fedstream.report.view import build_view
from fedstream.store.ledger import Ledger

CLIENTS = ["a", "b", "c"]


def test_metrics_belong_to_the_round_whose_model_was_measured(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    commits = Ledger(bucket, view.run).commits()
    assert [item.number for item in view.rounds] == [0, 1, 2, 3, 4]
    for item in view.rounds[:4]:
        assert item.metrics == commits[item.number + 1].metrics
        assert item.measured_in == item.number + 1
    assert view.rounds[4].metrics is None
    assert view.series("accuracy") == [(number, commits[number + 1].metrics.values["accuracy"]) for number in range(4)]


def test_a_finished_run_says_so(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    assert view.pending is None
    assert (view.trained, view.asked, view.best) == (3, 3, 3)
    assert view.decision == "all 3 training rounds are done"


def test_more_rounds_than_on_record_may_be_asked(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2), rounds=5)
    assert (view.trained, view.asked, view.pending.round) == (2, 5, 4)


def test_a_missed_quorum_says_who_is_missing_and_why(bucket, run_of):
    run = run_of(bucket, CLIENTS, 1, asked=3, closing=False)
    keys = RunKeys(run).at(2)
    bucket.put_new_json(
        keys.selection, Selection(run=run, round=2, kind="training", clients=CLIENTS).model_dump(mode="json")
    )
    bucket.put_new_json(keys.manifest("a"), {})
    for attempt, client, reason in [("one", "a", "too slow"), ("one", "b", "broker down"), ("two", "b", "no records")]:
        bucket.put_new_json(
            keys.refusal(attempt, client), Refusal(client=client, step="ingest", reason=reason).model_dump(mode="json")
        )
    pending = build_view(bucket, run).pending
    assert (pending.round, pending.kind, pending.arrived) == (2, "training", ["a"])
    assert [(refusal.client, refusal.reason) for refusal in pending.refusals] == [("b", "no records")]


def test_a_run_that_is_only_planned_can_be_seen(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 0, asked=3, closing=False))
    assert (view.trained, view.best, view.decision) == (0, None, "round 1 is next")


def test_an_unknown_run_is_a_run_error(bucket):
    with pytest.raises(RunError, match="there is no run 'nope'"):
        build_view(bucket, "nope")


def test_round_time_is_from_selection_to_commit(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2))
    infos = {info.key: info.last_modified for info in bucket.list("runs/")}
    keys = RunKeys(view.run).at(2)
    assert view.rounds[2].seconds == (infos[keys.commit] - infos[keys.selection]).total_seconds() > 0
    assert view.rounds[0].seconds is None


def test_only_versions_of_this_run_are_named(bucket, run_of):
    run = run_of(bucket, CLIENTS, 2)
    keys = ModelKeys("builtin:digits-mlp")

    def manifest(run, number, round):
        digests = dict.fromkeys(("commit", "head", "weights_digest"), "0" * 64)
        return {
            "model": "m",
            "version": number,
            "run": run,
            "round": round,
            "metrics": {},
            "files": {},
            "code_version": "1",
            **digests,
        }

    bucket.put_new_json(keys.version(1, "manifest.json"), manifest("another", 1, 7))
    digest = bucket.put_new_json(keys.version(2, "manifest.json"), manifest(run, 2, 2))
    for stray in ("01", "²", "99999999999999999999"):
        bucket.put_new_json(f"{keys.versions}{stray}/manifest.json", manifest(run, 3, 2))
    for number, damaged in ((4, b"["), (5, b"[" * 100_000), (6, b"\xff")):
        bucket.put_new(keys.version(number, "manifest.json"), damaged)
    bucket.put_new_json(keys.version(3, "report.html"), "killed before its manifest")
    versions = build_view(bucket, run).versions
    assert [(version.number, version.round, version.manifest_digest) for version in versions] == [(2, 2, digest)]


def test_client_weights_add_up_and_follow_accepted_examples(bucket, run_of):
    view = build_view(
        bucket, run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if (round, client) == (2, "c") else "")
    )
    rows = {row.client.name: row for row in client_rows(view)}
    training = [commit for commit in Ledger(bucket, view.run).commits() if commit.kind == "training"]
    total = sum(entry.num_examples for commit in training for entry in commit.clients if entry.accepted)
    own = sum(
        entry.num_examples for commit in training for entry in commit.clients if entry.accepted and entry.client == "c"
    )
    assert sum(row.share for row in rows.values()) == pytest.approx(1.0)
    assert rows["c"].share == own / total
    assert rows["c"].received == view.rounds[4].commit.clients[2].incoming.values["accuracy"]


def test_refusals_of_one_reason_share_a_row(bucket, run_of):
    view = build_view(
        bucket,
        run_of(
            bucket, CLIENTS, 6, refuse=lambda round, client: "late" if client == "b" and round in (1, 2, 3, 6) else ""
        ),
    )
    assert [(row.client, row.rounds, row.times, row.reason) for row in refusal_rows(view)] == [
        ("b", "1–3, 6", 4, "late")
    ]
    slices = {row.client: row for row in slice_rows(view)}
    assert slices["b"].rounds == "4–5, 7"
    assert slices["a"].ranges == [view.clients[0].matched.ranges]


def test_class_rows_are_recall_and_precision():
    rows = class_rows(Metrics(num_examples=10, values={}, confusion=[[3, 1, 0], [0, 4, 0], [2, 0, 0]]))
    assert [(row.records, row.recall, row.precision, row.mistaken_for) for row in rows] == [
        (4, 0.75, 0.6, ("1", 1)),
        (4, 1.0, 0.8, None),
        (2, 0.0, None, ("0", 2)),
    ]


def test_partial_work_says_how_many_epochs_counted(bucket, run_of):
    epochs = {(1, "a"): 3, (2, "a"): 1, (3, "a"): 3, (4, "c"): 4}
    view = build_view(bucket, run_of(bucket, CLIENTS, 4, spec={"epochs": 5}, epochs=epochs))
    assert partial_rows(view) == [PartialRow("a", 1, "2"), PartialRow("a", 3, "1, 3"), PartialRow("c", 4, "4")]
    page = render_report(view)
    assert "a: 3 of 5 epochs (rounds 1, 3)" in page
