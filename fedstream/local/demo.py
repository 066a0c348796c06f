"""The demonstration: stream data of several clients through a real Kafka and train on it with the compiled pipeline.

It publishes a model, verifies the ledger and writes a report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedstream.audit import verify_run
from fedstream.errors import RunError
from fedstream.local.datasets import load_dataset
from fedstream.local.inprocess import NO_BUDGET
from fedstream.local.partition import deal
from fedstream.local.platform import Platform
from fedstream.local.runs import Progress, run
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.settings import KafkaSettings
from fedstream.store.objects import ObjectStore
from fedstream.stream.send import send_dataset

LOCAL_EPOCHS, BATCH_SIZE = 5, 10
"""Enough to learn the digits in three rounds."""

EVALUATION_CLIENT = "evaluation"


def run_demo(
    clients: int,
    rounds: int,
    dataset: str,
    partition: str,
    name: str,
    say: Callable[[str], None],
    progress: Progress,
) -> dict[str, Any]:
    """Run the demonstration and return the outcome.

    Args:
        clients: Number of data owners.
        rounds: Number of training rounds.
        dataset: `digits`, or the path of an .npz file.
        partition: How the records are divided among the clients; see fedstream.local.partition.
        name: Name of the run; empty for a new name.
        say: Called with a line for each step.
        progress: Shows the progress of the run.

    Raises:
        FedstreamError: Any step failed; the results so far are kept, and the run can be continued under its name.
    """
    began = time.monotonic()
    data = load_dataset(dataset)
    dealt = deal(data.y_train, clients, partition)
    platform = Platform(say=say)
    platform.start()
    os.environ.update(platform.env)
    name = name or f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    kafka, owners = KafkaSettings.from_env(), [f"{name}-client-{number + 1}" for number in range(clients)]
    for owner, indices in zip(owners, dealt, strict=True):
        announcement = send_dataset(kafka, owner, owner, data.x_train[indices], data.y_train[indices])
        say(f"{owner} sent {len(indices)} records: {announcement.topic}")
    evaluation = f"{name}-{EVALUATION_CLIENT}"
    send_dataset(kafka, evaluation, evaluation, data.x_test, data.y_test)
    say(f"{evaluation} has {len(data.y_test)} records that no client trains on")
    spec = {
        "run": name,
        "model": data.model,
        "clients": owners,
        "rounds": rounds,
        "epochs": LOCAL_EPOCHS,
        "batch_size": BATCH_SIZE,
        "evaluation_topic": evaluation,
    }
    outcome = run(spec, "kfp", NO_BUDGET, None, progress)
    store = ObjectStore.from_env()
    audit = verify_run(store, name)
    if not audit.ok:
        raise RunError("; ".join(f"{problem.key}: {problem.what}" for problem in audit.problems))
    report = Path(f"{name}.html").absolute()
    report.write_text(render_report(build_view(store, name)), encoding="utf-8")
    verified = f"{audit.rounds} rounds, {audit.objects_checked} objects"
    return outcome | {"verified": verified, "report": str(report), "seconds": round(time.monotonic() - began, 1)}
