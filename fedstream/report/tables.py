"""The tables of the report: rows of a RunView, grouped so that thousands of them stay readable. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstream.record.decision import higher_is_better
from fedstream.record.documents import Metrics
from fedstream.report.elements import ClientView
from fedstream.report.interval import class_name, interval
from fedstream.report.view import RunView
from fedstream.text import count, spans

MAX_ROWS = 500
"""Maximum number of rows of a table; a note below it says how many are left out."""


@dataclass(frozen=True)
class ClientRow:
    """A row for a client.

    Attributes:
        share: Weight in the global models: its share of all examples in accepted updates, in [0, 1].
        received: Metric of the last model that it received, on its held-out records.
        sure: The 95 % interval of that metric as text; empty for none.
        gain: Mean of trained - received over the rounds that have both.
        sent: Mean bytes of its updates in the store; None for no update.
    """

    client: ClientView
    share: float
    received: float | None
    sure: str
    gain: float | None
    held_out: int
    sent: float | None


def client_rows(view: RunView) -> list[ClientRow]:
    """Return a row for each client, by name."""
    total = sum(client.examples for client in view.clients)
    sent: dict[str, list[int]] = {}
    for item in view.rounds:
        for name, size in item.sent.items():
            sent.setdefault(name, []).append(size)
    return [_client_row(client, total, view.metric, sent.get(client.name, [])) for client in view.clients]


def _client_row(client: ClientView, total: int, metric: str, sent: Sequence[int]) -> ClientRow:
    received, trained = client.curve("incoming", metric), dict(client.curve("trained", metric))
    gains = [trained[number] - value for number, value in received if number in trained]
    held_out = client.received[1].num_examples if client.received else 0
    return ClientRow(
        client=client,
        share=client.examples / total if total else 0.0,
        received=received[-1][1] if received else None,
        sure=interval(metric, received[-1][1], held_out) if received else "",
        gain=sum(gains) / len(gains) if gains else None,
        held_out=held_out,
        sent=sum(sent) / len(sent) if sent else None,
    )


@dataclass(frozen=True)
class AloneRow:
    """A comparison of a client's model trained on its own records with the last global model that it received.

    Both are evaluated on the same held-out records.

    Attributes:
        model_round: Round that made the global model.
        gain: How much better the global model is; for a loss, how much lower.
    """

    client: str
    held_out: int
    alone: float
    alone_sure: str
    together: float
    together_sure: str
    model_round: int
    gain: float


def alone_summary(rows: Sequence[AloneRow]) -> str:
    """Return at how many clients the global model is better, and at how many it is equally good."""
    better, equal = sum(row.gain > 0 for row in rows), sum(row.gain == 0 for row in rows)
    return (
        f"The global model is better at {better} of "
        f"{count(len(rows), 'client')}{f' and equally good at {equal}' if equal else ''}."
    )


def alone_rows(view: RunView) -> list[AloneRow]:
    """Return a row for each client that also trained alone for comparison, by name."""
    metric, sign, rows = view.metric, 1.0 if higher_is_better(view.metric) else -1.0, []
    for client in view.clients:
        if client.alone is None or client.received is None:
            continue
        number, received = client.received
        if metric not in client.alone.values or metric not in received.values:
            continue
        alone, together = client.alone.values[metric], received.values[metric]
        rows.append(
            AloneRow(
                client=client.name,
                held_out=received.num_examples,
                alone=alone,
                alone_sure=interval(metric, alone, client.alone.num_examples),
                together=together,
                together_sure=interval(metric, together, received.num_examples),
                model_round=number - 1,
                gain=sign * (together - alone),
            )
        )
    return rows


@dataclass(frozen=True)
class RefusalRow:
    """The refused updates of one client for one reason."""

    client: str
    rounds: str
    times: int
    reason: str


def refusal_rows(view: RunView) -> list[RefusalRow]:
    """Return a row for each client and reason of refused updates, the most frequent first."""
    found: dict[tuple[str, str], list[int]] = {}
    for client in view.clients:
        for number, entry in client.refused:
            found.setdefault((client.name, entry.reason), []).append(number)
    rows = [RefusalRow(client, spans(numbers), len(numbers), reason) for (client, reason), numbers in found.items()]
    return sorted(rows, key=lambda row: (-row.times, row.client))


@dataclass(frozen=True)
class PartialRow:
    """The rounds in which a client's deadline came before the end of its training, and whole epochs counted."""

    client: str
    epochs: int
    rounds: str


def partial_rows(view: RunView) -> list[PartialRow]:
    """Return a row for each client and number of epochs of accepted partial work."""
    rows = []
    for client in view.clients:
        found: dict[int, list[int]] = {}
        for number, entry in client.trained:
            if entry.epochs is not None:
                found.setdefault(entry.epochs, []).append(number)
        rows += [PartialRow(client.name, epochs, spans(numbers)) for epochs, numbers in sorted(found.items())]
    return rows


@dataclass(frozen=True)
class SliceRow:
    """Records of one client, with all rounds that used exactly these records."""

    client: str
    rounds: str
    ranges: list[str]
    records: int
    digest: str | None
    accepted: str


def slice_rows(view: RunView) -> list[SliceRow]:
    """Return the records that each client used, by client and first round; rounds with the same records share a row."""
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
            rows.append(
                SliceRow(client.name, spans(numbers), list(texts), uses[0][2], digest, spans(accepted) or "none")
            )
    return rows


@dataclass(frozen=True)
class ClassRow:
    """How well one class is distinguished from the others.

    Attributes:
        name: Announced name of the class, or its label.
        recall: Share of its records that were predicted correctly; None if it has no records.
        sure: The 95 % interval of the recall as text; empty for none.
        precision: Share of its predictions that are correct; None if there are none.
        mistaken_for: Class that is most often predicted for it instead, and how often.
    """

    name: str
    records: int
    recall: float | None
    sure: str
    precision: float | None
    mistaken_for: tuple[str, int] | None


def class_rows(metrics: Metrics | None, names: Sequence[str] = ()) -> list[ClassRow]:
    """Return a row for each class of a confusion matrix; empty if there is no matrix."""
    matrix = metrics.confusion if metrics and metrics.confusion else []
    rows = []
    for label, counts in enumerate(matrix):
        records, predicted, right = sum(counts), sum(row[label] for row in matrix), counts[label]
        times, other = max(((value, -at) for at, value in enumerate(counts) if at != label), default=(0, 0))
        rows.append(
            ClassRow(
                name=class_name(names, label),
                records=records,
                recall=right / records if records else None,
                sure=interval("accuracy", right / records, records) if records else "",
                precision=right / predicted if predicted else None,
                mistaken_for=(class_name(names, -other), times) if times else None,
            )
        )
    return rows


def contributors(view: RunView, round: int) -> dict[str, int]:
    """Return client -> examples in its accepted updates up to a round."""
    used: dict[str, int] = {}
    for client in view.clients:
        if examples := sum(entry.num_examples for number, entry in client.trained if number <= round):
            used[client.name] = examples
    return used
