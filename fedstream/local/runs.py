"""Start a run on this machine, with either runner, and say what came of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from fedstream.attendance import attendance
from fedstream.decision import measurements, next_pass, trained_rounds
from fedstream.errors import UsageError
from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.local.paths import default_state_dir
from fedstream.publication import why_unpublished
from fedstream.settings import KafkaSettings
from fedstream.spec import RunRecord, RunSpec, parse_spec
from fedstream.state import RunState
from fedstream.steps.plan import check_on_record
from fedstream.store.documents import Commit
from fedstream.store.layout import ModelKeys
from fedstream.store.objects import ObjectStore
from fedstream.stream.client import admin
from fedstream.watch import Watch

UNTRIED = "publish did not come to its end; run it again"

CHECK_S = 5.0
"""Seconds the store may take to answer at first: a person waits. Once a run is under way it may be away for longer."""


def run(values: dict[str, Any], runner: Literal["inprocess", "kfp"], node_budget: int, log: Path | None, console: Console) -> dict[str, Any]:
    """Run to the end, with a live table, and return the outcome.

    Args:
        values: fields of RunSpec.
        runner: the steps in this process, or the compiled pipeline under kfp.local.
        node_budget: as plan_training's.
        log: file for what the steps say; absent for one in the state folder.
        console: where the table is drawn.

    Raises:
        FedstreamError: of any kind; the run can be started again.
    """
    spec = parse_spec(values)
    kafka, store = KafkaSettings.from_env(), ObjectStore.from_env()
    log = log or default_state_dir() / "logs" / f"{spec.run}.log"
    _check(spec, kafka, store, log)
    with Watch(store, spec.run, spec.rounds, console):
        if runner == "kfp":
            version = run_pipeline({**values, "node_budget": node_budget}, log)
        else:
            with _logged_to(log):
                version = run_inprocess(values, node_budget)
    return outcome(store, spec.run, spec.rounds, version) | {"log": str(log)}


def _check(spec: RunSpec, kafka: KafkaSettings, store: ObjectStore, log: Path) -> None:
    """Find out at once what a step would find out later, and with what exit code."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    except OSError as error:
        raise UsageError(f"cannot write the log {str(log)!r}: {error.strerror}; name another file with --log") from error
    ObjectStore(store.settings, patience_s=CHECK_S).check()
    check_on_record(RunState(store, spec.run), spec)
    with admin(kafka):
        pass


def outcome(store: ObjectStore, run: str, rounds: int, version: int) -> dict[str, Any]:
    """Return a run's result as JSON values.

    Args:
        store: the bucket.
        run: name of the run.
        rounds: training rounds wanted in all.
        version: that was published from its last commit; 0 for none, and `reason` says why.
    """
    state = RunState(store, run)
    commits, record, coming = state.ledger.commits(), state.record, state.next_round(rounds)
    result: dict[str, Any] = {
        "run": run,
        "model": record.model.name,
        "finished": coming is None,
        "version": version,
        "reason": "" if version else next_pass(coming[1], trained_rounds(commits)) if coming else why_unpublished(state) or UNTRIED,
        "rounds": trained_rounds(commits),
        "head": state.ledger.digest(commits[-1].round),
        **attended(record, commits),
    }
    if version:
        manifest = store.get_json(ModelKeys(record.model.name).version(version, "manifest.json"))
        return result | {name: manifest[name] for name in ("round", "metrics", "weights_digest")}
    measured = measurements(commits, record.spec.target_metric)
    return result | {"metrics": {record.spec.target_metric: measured[-1][1]} if measured else {}, "weights_digest": commits[-1].weights_digest}


def attended(record: RunRecord, commits: Sequence[Commit]) -> dict[str, Any]:
    """Return who took part and who did not, and on how many records, as JSON values."""
    there = attendance(record, commits)
    return {
        "degraded": there.degraded,
        "clients": {"took_part": there.took_part, "meant": there.meant},
        "records": {"trained_on": there.records, "announced": there.announced},
        "absent": [asdict(absence) for absence in there.absent],
    }


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Send the steps' log lines to a file, and to nowhere else, for as long as the context lasts."""
    logger = logging.getLogger("fedstream")
    before = logger.level, logger.propagate
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(before[0])
        logger.propagate = before[1]
