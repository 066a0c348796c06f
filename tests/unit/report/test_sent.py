"""How many bytes clients sent, as the store knows it."""

from __future__ import annotations

import pytest

from fedstream.report.history import history
from fedstream.report.html import render_report
from fedstream.report.tables import client_rows
from fedstream.report.view import build_view
from fedstream.store.ledger import Ledger
from fedstream.store.memory import MemoryStore
from fedstream.text import size


def test_the_bytes_of_updates_are_in_the_report_and_the_history(bucket: MemoryStore, run_of) -> None:
    run = run_of(bucket, ["a", "b"], 2, refuse=lambda round, client: "late" if (round, client) == (2, "b") else "")
    for commit in Ledger(bucket, run).commits():
        for entry in commit.clients:
            if entry.update_digest:
                key = f"runs/{run}/rounds/{commit.round:04d}/updates/{entry.client}-{entry.update_digest}.safetensors"
                bucket.put_new(key, bytes(2048 if entry.client == "a" else 3000 * commit.round))
    view = build_view(bucket, run)
    assert [item.sent for item in view.rounds] == [{}, {"a": 2048, "b": 3000}, {"a": 2048}, {}]
    assert {row.client.name: row.sent for row in client_rows(view)} == {"a": 2048, "b": 3000}
    frames = history(run, bucket)
    assert list(frames.rounds["bytes"]) == [0, 5048, 2048, 0]
    assert list(frames.clients["bytes"]) == [2048, 3000, 2048, 0, 0, 0]
    page = render_report(view)
    assert '<td class="n">4.9 KiB</td>' in page, "both updates of round 1"
    assert '<td class="n">2.9 KiB</td>' in page, "the mean of client b"


def test_a_client_without_updates_sent_nothing(bucket: MemoryStore, run_of) -> None:
    view = build_view(bucket, run_of(bucket, ["a"], 1))
    assert [row.sent for row in client_rows(view)] == [None]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (24.3 * 2**20, "24.3 MiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_sizes_have_their_largest_unit(count: float, said: str) -> None:
    assert size(count) == said
