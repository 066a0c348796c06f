"""All runs of a bucket in a few words each, and two runs beside each other. A damaged run is one line of the list, never its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedstream.catalog.versions import find_version, list_versions
from fedstream.errors import CorruptObject, RunError, UsageError
from fedstream.record.decision import lineage, measurements, next_pass, rounds_behind, trained_rounds
from fedstream.record.documents import Commit
from fedstream.record.run import RunRecord
from fedstream.record.spec import RunSpec
from fedstream.store.state import RunState, run_names
from fedstream.store.store import Store

NEWEST_VERSIONS = 50
"""Of a model, that are looked through for the runs they are of: each is a request."""


@dataclass(frozen=True)
class RunSummary:
    """A run in a few words.

    Attributes:
        run: its name.
        state: `finished`, `round N is next`, or `damaged: ` and what is.
        model: what it starts from; empty where that cannot be read.
        rounds: training rounds done.
        metric: the metric that decides.
        value: of the model measured last; None before one is.
        version: the newest one published from it; 0 for none.
        started: when it was planned.
        ended: when its last round was committed; None while it is not finished.
    """

    run: str
    state: str
    model: str = ""
    rounds: int = 0
    metric: str = ""
    value: float | None = None
    version: int = 0
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        differ: what differs in their specs and in what these were matched with -> both values.
        metrics: names of what their global models scored, the metrics that decide first.
        rounds: round -> metric -> both values; None where a run has none.
    """

    differ: dict[str, tuple[Any, Any]]
    metrics: list[str]
    rounds: dict[int, dict[str, tuple[float | None, float | None]]]


def summaries(store: Store) -> list[RunSummary]:
    """Return all runs of a bucket, the one that was planned last at the end; damaged ones come first."""
    versions: dict[str, dict[str, int]] = {}
    found = [summary for run in run_names(store) if (summary := _summary(store, run, versions))]
    return sorted(found, key=lambda summary: (summary.started.timestamp() if summary.started else 0.0, summary.run))


def _summary(store: Store, run: str, versions: dict[str, dict[str, int]]) -> RunSummary | None:
    """Return a run's summary; None for a folder without a plan, where a submission has just begun or was refused."""
    state = RunState(store, run)
    started = _written(store, state.keys.spec)
    if started is None:
        return None
    try:
        record, commits = state.record, state.ledger.commits()
        coming = state.next_round(max(record.spec.rounds, trained_rounds(commits))) if commits else (0, "initial")
    except (CorruptObject, RunError) as error:
        return RunSummary(run, f"damaged: {error}", started=started)
    model, metric = record.model.name, record.spec.target_metric
    if model not in versions:
        versions[model] = _versions(store, model)
    measured = measurements(commits, metric)
    return RunSummary(
        run=run,
        state=next_pass(coming[1], trained_rounds(commits)) if coming else "finished",
        model=model,
        rounds=trained_rounds(commits),
        metric=metric,
        value=measured[-1][1] if measured else None,
        version=versions[model].get(run, 0),
        started=started,
        ended=None if coming else _written(store, state.keys.at(commits[-1].round).commit),
    )


def _versions(store: Store, model: str) -> dict[str, int]:
    """Return run -> its newest version."""
    found = {}
    for number in list_versions(store, model)[-NEWEST_VERSIONS:]:
        try:
            found[find_version(store, model, number).manifest.run] = number
        except CorruptObject:
            continue
    return found


def _written(store: Store, key: str) -> datetime | None:
    return next((info.last_modified for info in store.list(key) if info.key == key), None)


def compare(store: Store, first: str, second: str) -> Comparison:
    """Put two runs beside each other.

    Raises:
        RunError: there is no such run.
        CorruptObject: one of them cannot be read.
        UsageError: they are the same.
    """
    if first == second:
        raise UsageError(f"{first!r} is named twice; name two runs to compare")
    states = RunState(store, first), RunState(store, second)
    records, scores = [state.record for state in states], [_scores(state.ledger.commits()) for state in states]
    names = {name for run in scores for values in run.values() for name in values}
    leading = [name for name in dict.fromkeys([*(record.spec.target_metric for record in records), "loss"]) if name in names]
    metrics = leading + sorted(names.difference(leading))
    rounds = {
        number: {name: (scores[0].get(number, {}).get(name), scores[1].get(number, {}).get(name)) for name in metrics}
        for number in sorted({*scores[0], *scores[1]})
    }
    return Comparison(_differences(*records), metrics, rounds)


def _differences(first: RunRecord, second: RunRecord) -> dict[str, tuple[Any, Any]]:
    fields = [name for name in RunSpec.model_fields if name != "run"]
    specs = first.spec.model_dump(mode="json"), second.spec.model_dump(mode="json")
    said = [{name: spec[name] for name in fields} | _matched(record) for spec, record in zip(specs, (first, second), strict=True)]
    return {name: (said[0][name], said[1][name]) for name in said[0] if said[0][name] != said[1][name]}


def _matched(record: RunRecord) -> dict[str, Any]:
    return {
        "initial_model": record.model.keras_digest,
        "matched_clients": [client.client for client in record.clients],
        "announced_records": sum(client.records for client in record.clients),
    }


def _scores(commits: list[Commit]) -> dict[int, dict[str, float]]:
    """Return round of training -> what its global model scored, of rounds that count; the first measurement of a model counts."""
    found: dict[int, dict[str, float]] = {}
    counted, behind = {commit.round for commit in lineage(commits)}, rounds_behind(commits)
    for commit in commits:
        if commit.metrics and commit.measured_round in counted:
            found.setdefault(behind[commit.measured_round], commit.metrics.values)
    return found
