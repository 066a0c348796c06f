"""The DataFrames, against the ledger."""

from __future__ import annotations

import subprocess
import sys

import fedstream
from fedstream.report.history import history
from fedstream.store.ledger import Ledger

CLIENTS = ["a", "b", "c"]


def test_rounds_are_those_of_the_ledger(bucket, run_of):
    run = run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if (round, client) == (2, "c") else "")
    frame, commits = fedstream.history(run, bucket).rounds, Ledger(bucket, run).commits()
    assert list(frame["round"]) == [0, 1, 2, 3, 4]
    assert list(frame["kind"]) == ["initial", "training", "training", "training", "closing"]
    assert list(frame["accuracy"][:4]) == [commit.metrics.values["accuracy"] for commit in commits[1:]]
    assert frame["accuracy"].isna().tolist() == [False] * 4 + [True]
    assert list(frame["accepted"]) == [0, 3, 2, 3, 3]
    assert frame["records"][2] == sum(entry.num_examples for entry in commits[2].clients if entry.accepted)
    assert frame["records"][4] == 0
    assert list(frame["weights_digest"]) == [commit.weights_digest for commit in commits]


def test_clients_have_a_row_for_each_verdict(bucket, run_of):
    run = run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if (round, client) == (2, "c") else "")
    frame = history(run, bucket).clients
    assert len(frame) == 12
    refused = frame[~frame["accepted"]].iloc[0]
    assert (refused["round"], refused["client"], refused["reason"], refused["records"]) == (2, "c", "late", 0)
    entry = Ledger(bucket, run).commit(1).clients[1]
    row = frame[(frame["round"] == 1) & (frame["client"] == "b")].iloc[0]
    assert row["incoming_accuracy"] == entry.incoming.values["accuracy"]
    assert row["trained_loss"] == entry.trained.values["loss"]
    assert row["records"] == entry.ranges[0].end
    assert frame[frame["kind"] == "closing"]["trained_accuracy"].isna().all()


def test_a_planned_run_has_typed_empty_clients(bucket, run_of):
    found = history(run_of(bucket, CLIENTS, 0, asked=2, closing=False), bucket)
    assert len(found.rounds) == 1
    assert len(found.clients) == 0
    assert "slice_digest" in found.clients.columns


def test_importing_fedstream_loads_nothing_heavy():
    heavy = "pandas", "numpy", "tensorflow", "minio", "kafka", "jinja2", "pydantic"
    code = f"import sys, fedstream; print([name for name in {heavy!r} if name in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        == "[]"
    )
