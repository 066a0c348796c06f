"""Summarize the runs of a bucket, and compare two runs. A damaged run is reported as such and does not end the list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedstream.catalog.versions import find_version, list_versions
from fedstream.errors import CorruptObject, RunError, UsageError
from fedstream.record.commit import Commit
from fedstream.record.decision import lineage, measurements, next_pass, rounds_behind, trained_rounds
from fedstream.record.document import values_of
from fedstream.record.run import RunRecord
from fedstream.record.spec import RunSpec
from fedstream.store.state import RunState, run_names
from fedstream.store.store import Store

NEWEST_VERSIONS = 50
"""Maximum number of versions of a model that are searched for their runs; each takes a request."""


@dataclass(frozen=True)
class RunSummary:
    """A summary of a run.

    Attributes:
        run: Name of the run.
        state: `finished`, `round N is next`, or `damaged: ` and the reason.
        model: Model that it starts from; empty if it cannot be read.
        rounds: Number of completed training rounds.
        metric: Target metric.
        value: Metric of the last evaluated model; None if there is none.
        version: Newest version published from it; 0 for none.
        started: Time at which it was planned.
        ended: Time at which its last round was committed; None if it is not finished.
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
    """A comparison of two runs.

    Attributes:
        differ: Field of the specs or of the matched streams that differs -> both values.
        metrics: Names of the metrics of their global models, the target metrics first.
        rounds: Round -> metric -> both values; None if a run has no value.
    """

    differ: dict[str, tuple[Any, Any]]
    metrics: list[str]
    rounds: dict[int, dict[str, tuple[float | None, float | None]]]


def summaries(store: Store) -> list[RunSummary]:
    """Return all runs of a bucket in the order in which they were planned; damaged runs come first."""
    versions: dict[str, dict[str, int]] = {}
    found = [summary for run in run_names(store) if (summary := _summary(store, run, versions))]
    return sorted(found, key=lambda summary: (summary.started.timestamp() if summary.started else 0.0, summary.run))


def _summary(store: Store, run: str, versions: dict[str, dict[str, int]]) -> RunSummary | None:
    """Return the summary of a run; None for a run without a plan, whose submission has just begun or was rejected."""
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
    """Compare two runs.

    Raises:
        RunError: A run does not exist.
        CorruptObject: A run cannot be read.
        UsageError: Both names are the same.
    """
    if first == second:
        raise UsageError(f"{first!r} is given twice; pass two different runs to compare")
    states = RunState(store, first), RunState(store, second)
    records, scores = [state.record for state in states], [_scores(state.ledger.commits()) for state in states]
    names = {name for run in scores for values in run.values() for name in values}
    leading = [
        name for name in dict.fromkeys([*(record.spec.target_metric for record in records), "loss"]) if name in names
    ]
    metrics = leading + sorted(names.difference(leading))
    rounds = {
        number: {name: (scores[0].get(number, {}).get(name), scores[1].get(number, {}).get(name)) for name in metrics}
        for number in sorted({*scores[0], *scores[1]})
    }
    return Comparison(_differences(*records), metrics, rounds)


def _differences(first: RunRecord, second: RunRecord) -> dict[str, tuple[Any, Any]]:
    fields = [name for name in RunSpec.model_fields if name != "run"]
    specs = values_of(first.spec), values_of(second.spec)
    said = [
        {name: spec.get(name, RunSpec.model_fields[name].default) for name in fields} | _matched(record)
        for spec, record in zip(specs, (first, second), strict=True)
    ]
    return {name: (said[0][name], said[1][name]) for name in said[0] if said[0][name] != said[1][name]}


def _matched(record: RunRecord) -> dict[str, Any]:
    return {
        "initial_model": record.model.keras_digest,
        "matched_clients": [client.client for client in record.clients],
        "announced_records": sum(client.records for client in record.clients),
    }


def _scores(commits: list[Commit]) -> dict[int, dict[str, float]]:
    """Return training round -> metrics of its global model, for rounds that count.

    If a model was evaluated more than once, its first evaluation is used.
    """
    found: dict[int, dict[str, float]] = {}
    counted, behind = {commit.round for commit in lineage(commits)}, rounds_behind(commits)
    for commit in commits:
        if commit.metrics and commit.measured_round in counted:
            found.setdefault(behind[commit.measured_round], commit.metrics.values)
    return found
