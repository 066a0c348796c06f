"""Run a federated run in this process: the same steps as the pipeline, in the same order, one training after another."""

from __future__ import annotations

import uuid
from typing import Any

from fedstream import steps
from fedstream.record.spec import parse_spec

NO_BUDGET = 10**9
"""Argo's limit on the nodes of a submission does not hold where there is no Argo."""


def run_inprocess(values: dict[str, Any], node_budget: int = NO_BUDGET) -> int:
    """Run to the end and return the published version, or 0 if the node budget ended before the run.

    TensorFlow's seeds and threads are process-wide, so clients train one at a time; the digests are those of the pipeline.

    Args:
        values: fields of RunSpec.
        node_budget: as plan_training's.
    """
    attempt, spec = uuid.uuid4().hex, parse_spec(values)
    run, rounds = spec.run, spec.rounds
    slots = steps.plan_training(values, node_budget)
    for slot in slots:
        round, _ = steps.open_round(run, rounds, attempt, slot)
        if round >= 0:
            run_round(run, round, rounds, attempt)
    return steps.publish(run, rounds)


def run_round(run: str, round: int, rounds: int, attempt: str = "alone") -> None:
    """Run one round, which must be the next one: select, ingest, train, aggregate, evaluate.

    Args:
        run: name of the run.
        round: number of the round.
        rounds: training rounds wanted in all.
        attempt: id of the submission, under which refusals are noted.
    """
    for client in steps.select_clients(run, round, rounds):
        slice_key = steps.ingest_from_kafka(run, round, client, attempt).slice_key
        steps.local_train(run, round, client, slice_key, attempt)
    steps.aggregate(run, round, attempt)
    steps.evaluate(run, round)
