"""The report's tables: rows of a RunView, grouped so that they stay readable when there are thousands. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fedstream.report.parts import ClientView
from fedstream.report.text import spans
from fedstream.report.view import RunView
from fedstream.store.documents import Metrics

MAX_ROWS = 500
"""Rows of a table; what is left out is said below it."""


@dataclass(frozen=True)
class ClientRow:
    """A client in a line.

    Attributes:
        share: of all examples in accepted updates, in [0, 1]: its weight in the global models.
        received: metric of the last model it received, on its held-out records.
        gain: mean of trained - received, over the rounds that have both.
    """

    client: ClientView
    share: float
    received: float | None
    gain: float | None
    held_out: int


def client_rows(view: RunView) -> list[ClientRow]:
    """Return a row for each client, by name."""
    total = sum(client.examples for client in view.clients)
    return [_client_row(client, total, view.metric) for client in view.clients]


def _client_row(client: ClientView, total: int, metric: str) -> ClientRow:
    received, trained = client.curve("incoming", metric), dict(client.curve("trained", metric))
    gains = [trained[number] - value for number, value in received if number in trained]
    measured = [entry.incoming for _, _, entry in client.rounds if entry.accepted and entry.incoming]
    return ClientRow(
        client=client,
        share=client.examples / total if total else 0.0,
        received=received[-1][1] if received else None,
        gain=sum(gains) / len(gains) if gains else None,
        held_out=measured[-1].num_examples if measured else 0,
    )


@dataclass(frozen=True)
class RefusalRow:
    """Refusals of one client for one reason."""

    client: str
    rounds: str
    times: int
    reason: str


def refusal_rows(view: RunView) -> list[RefusalRow]:
    """Return the refused updates, those of one client and one reason in one row, the most frequent first."""
    found: dict[tuple[str, str], list[int]] = {}
    for client in view.clients:
        for number, entry in client.refused:
            found.setdefault((client.name, entry.reason), []).append(number)
    rows = [RefusalRow(client, spans(numbers), len(numbers), reason) for (client, reason), numbers in found.items()]
    return sorted(rows, key=lambda row: (-row.times, row.client))


@dataclass(frozen=True)
class SliceRow:
    """The same records of one client, in all rounds that used them."""

    client: str
    rounds: str
    ranges: list[str]
    records: int
    digest: str | None
    accepted: str


def slice_rows(view: RunView) -> list[SliceRow]:
    """Return what each client trained on or measured with, by client and first round; rounds on the same records share a row."""
    rows = []
    for client in view.clients:
        found: dict[tuple[str | None, tuple[str, ...]], list[tuple[int, bool, int]]] = {}
        for number, _, entry in client.rounds:
            ranges = tuple(f"{part.topic}:{part.partition}:{part.start}:{part.end}" for part in entry.ranges)
            if ranges:
                records = sum(part.end - part.start for part in entry.ranges)
                found.setdefault((entry.slice_digest, ranges), []).append((number, entry.accepted, records))
        for (digest, texts), uses in found.items():
            numbers, accepted = [number for number, _, _ in uses], [number for number, taken, _ in uses if taken]
            rows.append(SliceRow(client.name, spans(numbers), list(texts), uses[0][2], digest, spans(accepted) or "none"))
    return rows


@dataclass(frozen=True)
class ClassRow:
    """How well one class is told from the others.

    Attributes:
        recall: share of its records that were found; absent when it has none.
        precision: share of the predictions of it that are right; absent when there are none.
        mistaken_for: the class it is most often taken for, and how often.
    """

    label: int
    records: int
    recall: float | None
    precision: float | None
    mistaken_for: tuple[int, int] | None


def class_rows(metrics: Metrics | None) -> list[ClassRow]:
    """Return a row for each class of a confusion matrix; empty without one."""
    matrix = metrics.confusion if metrics and metrics.confusion else []
    rows = []
    for label, counts in enumerate(matrix):
        records, predicted, right = sum(counts), sum(row[label] for row in matrix), counts[label]
        times, other = max(((value, -at) for at, value in enumerate(counts) if at != label), default=(0, 0))
        rows.append(
            ClassRow(
                label=label,
                records=records,
                recall=right / records if records else None,
                precision=right / predicted if predicted else None,
                mistaken_for=(-other, times) if times else None,
            )
        )
    return rows
