"""Start a run on this machine with either runner, and return its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from fedstream.local.inprocess import run_inprocess
from fedstream.local.launch import run_pipeline
from fedstream.local.logs import check_log, logged_to
from fedstream.local.paths import default_state_dir
from fedstream.record.form_values import packed
from fedstream.record.spec import RunSpec
from fedstream.settings import KafkaSettings
from fedstream.steps.outcome import outcome
from fedstream.steps.plan import check_on_record, checked_spec
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.client import admin

Progress = Callable[[Store, RunSpec], AbstractContextManager[Any]]
"""Shows the progress of a run for as long as its context lasts."""

CHECK_S = 5.0
"""Seconds that the store can take to answer before the run starts, while a person waits.

During a run, it can be unavailable for longer.
"""


def run(
    values: dict[str, Any], runner: Literal["inprocess", "kfp"], node_budget: int, log: Path | None, progress: Progress
) -> dict[str, Any]:
    """Run to the end and return the outcome.

    Args:
        values: Fields of RunSpec.
        runner: Whether to run the steps in this process, or the compiled pipeline with kfp.local.
        node_budget: Node budget of `plan_training`.
        log: File for the log of the steps; None for a file in the state folder.
        progress: Shows the progress of the run.

    Raises:
        FedstreamError: The run failed for any reason; it can be started again.
    """
    spec = checked_spec(values)
    kafka, store = KafkaSettings.from_env(), ObjectStore.from_env()
    log = log or default_state_dir() / "logs" / f"{spec.run}.log"
    _check(spec, kafka, store, log)
    with progress(store, spec):
        if runner == "kfp":
            version = run_pipeline({**packed(spec), "node_budget": node_budget}, log)
        else:
            with logged_to(log):
                version = run_inprocess(values, node_budget)
    return outcome(store, spec.run, spec.rounds, version) | {"log": str(log)}


def _check(spec: RunSpec, kafka: KafkaSettings, store: ObjectStore, log: Path) -> None:
    """Detect problems immediately that a step would detect only later, and raise the same errors."""
    check_log(log)
    ObjectStore(store.settings, patience_s=CHECK_S).check()
    check_on_record(RunState(store, spec.run), spec)
    with admin(kafka):
        pass
