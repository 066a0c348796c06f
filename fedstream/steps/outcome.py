"""The result of a run as JSON values: its progress, its participants, and the published version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedstream.record.attendance import attendance
from fedstream.record.commit import Commit
from fedstream.record.decision import measurements, next_pass, trained_rounds
from fedstream.record.documents import Opening
from fedstream.record.layout import ModelKeys
from fedstream.record.run import RunRecord
from fedstream.steps.publication import why_not_moved, why_unpublished
from fedstream.store.state import Kind, RunState
from fedstream.store.store import Store

UNTRIED = "publish did not finish; run it again"


def outcome(store: Store, run: str, rounds: int, version: int) -> dict[str, Any]:
    """Return a run's result as JSON values.

    Args:
        store: The object store.
        run: Name of the run.
        rounds: Total number of training rounds.
        version: Version that was published from the run's last commit; 0 for none, and `reason` says why.
    """
    state = RunState(store, run)
    commits, record, coming = state.ledger.commits(), state.record, state.next_round(rounds)
    result: dict[str, Any] = {
        "run": run,
        "model": record.model.name,
        "finished": coming is None,
        "version": version,
        "reason": "" if version else _why_none(state, coming),
        "rounds": trained_rounds(commits),
        "head": state.ledger.digest(commits[-1].round),
        **_waits(state, coming),
        **attended(record, commits),
    }
    if version:
        manifest = store.get_json(ModelKeys(record.model.name).version(version, "manifest.json"))
        return result | {name: manifest[name] for name in ("round", "metrics", "weights_digest")}
    measured = measurements(commits, record.spec.target_metric)
    return result | {
        "metrics": {record.spec.target_metric: measured[-1][1]} if measured else {},
        "weights_digest": commits[-1].weights_digest,
    }


def _why_none(state: RunState, coming: tuple[int, Kind] | None) -> str:
    """Return why no version was published from the run's last commit."""
    if coming and not state.record.spec.indefinite:
        return next_pass(coming[1], trained_rounds(state.ledger.commits()))
    return why_not_moved(state) or why_unpublished(state) or UNTRIED


def _waits(state: RunState, coming: tuple[int, Kind] | None) -> dict[str, str]:
    """Return what a live run waits for, as its newest submission found."""
    if not coming or not state.record.spec.feed.live:
        return {}
    listed = state.store.list(f"{state.keys.at(coming[0]).root}/opened/")
    newest = max(listed, key=lambda info: (info.last_modified, info.key), default=None)
    idle = state.read(Opening, newest.key).idle if newest else ""
    return {"idle": idle} if idle else {}


def attended(record: RunRecord, commits: Sequence[Commit]) -> dict[str, Any]:
    """Return which clients took part, which did not, and the numbers of records, as JSON values."""
    there = attendance(record, commits)
    return {
        "degraded": there.degraded,
        "clients": {"took_part": there.took_part, "meant": there.meant},
        "records": {"trained_on": there.records, "announced": there.announced},
        "absent": [asdict(absence) for absence in there.absent],
    }
