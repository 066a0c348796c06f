"""Start a run on this machine, with either runner, and say what came of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from fedstream.decision import measurements
from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.local.paths import default_state_dir
from fedstream.local.watch import Watch
from fedstream.run import RunRecord, parse_spec
from fedstream.settings import KafkaSettings
from fedstream.store.layout import ModelKeys, RunKeys
from fedstream.store.ledger import Ledger
from fedstream.store.objects import ObjectStore


def run(values: dict[str, Any], runner: Literal["kfp", "inprocess"], node_budget: int, log: Path | None, console: Console) -> dict[str, Any]:
    """Run to the end, with a live table, and return the outcome.

    Args:
        values: fields of RunSpec.
        runner: the compiled pipeline under kfp.local, or the same steps in this process.
        node_budget: as plan_run's.
        log: file for the pipeline's own output; absent for one in the state folder.
        console: where the table is drawn.

    Raises:
        FedstreamError: of any kind; the run can be started again.
    """
    spec = parse_spec(values)
    KafkaSettings.from_env()
    store = ObjectStore.from_env()
    store.check()
    log = log or default_state_dir() / "logs" / f"{spec.run}.log"
    with Watch(store, spec.run, spec.rounds, console):
        if runner == "kfp":
            version = run_pipeline({**values, "node_budget": node_budget}, log)
        else:
            _log_to(log)
            version = run_inprocess(values, node_budget)
    return outcome(store, spec.run, version) | {"log": str(log)}


def outcome(store: ObjectStore, run: str, version: int) -> dict[str, Any]:
    """Return a run's result as JSON values; version 0 means that the run is not finished."""
    commits = Ledger(store, run).commits()
    record = RunRecord.model_validate_json(store.get(RunKeys(run).spec))
    result: dict[str, Any] = {
        "run": run,
        "model": record.model.name,
        "version": version,
        "rounds": sum(commit.kind == "training" for commit in commits),
    }
    if version:
        manifest = store.get_json(ModelKeys(record.model.name).version(version, "manifest.json"))
        return result | {name: manifest[name] for name in ("round", "metrics", "weights_digest")}
    measured = measurements(commits, record.spec.target_metric)
    return result | {"metrics": {record.spec.target_metric: measured[-1][1]} if measured else {}, "weights_digest": commits[-1].weights_digest}


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logger = logging.getLogger("fedstream")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
