"""What each client contributed to a run's global models: one row for each client, summed over its rounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from fedstream.record.commit import ClientEntry
from fedstream.record.decision import higher_is_better
from fedstream.report.elements import RoundView
from fedstream.report.view import RunView


@dataclass(frozen=True)
class ContributionRow:
    """What one client contributed to the global models that count.

    Attributes:
        rounds: Number of accepted updates.
        examples: Number of records trained on in them; a record counts once for each round.
        share: Mean share of all examples in accepted updates over all training rounds, in [0, 1]. A round without an
            update of the client counts as 0, so the shares of all clients add up to 1.
        norm: Mean Euclidean norm of its updates' change; None if none is on record.
        cosine: Mean cosine between its change and that of the global model, in [-1, 1]; None if none is on record.
        value: Mean amount by which the target metric of the round's model is better with its update than without it,
            in rounds in which that was measured (`leave_one_out`); negative if the model is better without.
    """

    client: str
    rounds: int
    examples: int
    share: float
    norm: float | None
    cosine: float | None
    value: float | None


def contribution_rows(view: RunView) -> list[ContributionRow]:
    """Return a row for each client of a run, by name. Rounds that a rollback has undone do not count."""
    trained = [item for item in view.rounds if item.counts and item.commit.kind == "training"]
    return [_row(view, client.name, trained) for client in view.clients]


def share_of(item: RoundView, entry: ClientEntry) -> float:
    """Return a client's share of all examples in the accepted updates of a round, in [0, 1]."""
    return entry.num_examples / item.records if entry.accepted and item.records else 0.0


def value_of(item: RoundView, client: str, metric: str) -> float | None:
    """Return by how much a round's model is better with a client's update; None if that was not measured."""
    if client not in item.commit.left_out or item.metrics is None or metric not in item.metrics.values:
        return None
    sign = 1.0 if higher_is_better(metric) else -1.0
    return sign * (item.metrics.values[metric] - item.commit.left_out[client])


def _row(view: RunView, client: str, trained: list[RoundView]) -> ContributionRow:
    own = [(item, entry) for item in trained for entry in item.accepted if entry.client == client]
    measured = [entry.contribution for _, entry in own if entry.contribution]
    values = [value_of(item, client, view.metric) for item, _ in own]
    return ContributionRow(
        client=client,
        rounds=len(own),
        examples=sum(entry.num_examples for _, entry in own),
        share=sum(share_of(item, entry) for item, entry in own) / len(trained) if trained else 0.0,
        norm=_mean([item.norm for item in measured]),
        cosine=_mean([item.cosine for item in measured]),
        value=_mean(values),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
