"""Run a federated run in this process.

The steps are those of the pipeline, in the same order; clients train one after another.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any

from fedstream import steps
from fedstream.record.documents import Manifest
from fedstream.record.spec import parse_spec
from fedstream.steps import rounds as order
from fedstream.steps.context import Context
from fedstream.store.remembered import Remembered
from fedstream.worker.worker import LocalWorker, Refused, Worker, ask_for

NO_BUDGET = 10**9
"""Node budget without Argo, whose limit on the nodes of a submission does not apply here."""


def run_inprocess(
    values: dict[str, Any],
    node_budget: int = NO_BUDGET,
    context: Context | None = None,
    worker: Callable[[Context], Worker] = LocalWorker,
) -> int:
    """Run to the end and return the published version, or 0 if the node budget ended before the run.

    Clients train one at a time, because TensorFlow's seeds and threads are process-wide. The digests are the same as
    those of the pipeline.

    Args:
        values: Fields of RunSpec.
        node_budget: Node budget of `plan_training`.
        context: The context in which the steps run; None for the one that the environment describes.
        worker: Makes the worker that trains the clients.
    """
    attempt, spec = uuid.uuid4().hex, parse_spec(values)
    context = remembering(context or Context.from_env())
    with closing(context.brokers):
        for slot in steps.plan_training.within(context, values, node_budget):
            round, _ = steps.open_round.within(context, spec.run, spec.rounds, attempt, slot)
            if round >= 0:
                order.run_round(InProcess(context, spec.run, round, spec.rounds, attempt, worker))
        return steps.publish.within(context, spec.run, spec.rounds)


def remembering(context: Context) -> Context:
    """Return a context for all steps of a run in this process, which reads no object of the store twice."""
    return replace(context, store=Remembered(context.store), runs={})


def run_round(run: str, round: int, rounds: int, attempt: str = "alone") -> None:
    """Run one round, which must be the next one: select, ingest, train, aggregate, evaluate.

    Args:
        run: Name of the run.
        round: Number of the round.
        rounds: Total number of training rounds.
        attempt: Id of the submission; refusals go on record under it.
    """
    context = Context.from_env()
    with closing(context.brokers):
        order.run_round(InProcess(context, run, round, rounds, attempt))


class InProcess:
    """The steps of one round in this process.

    Args:
        context: The context in which the steps run.
        run: Name of the run.
        round: Number of the round.
        rounds: Total number of training rounds.
        attempt: Id of the submission.
        worker: Makes the worker that trains the clients.
    """

    def __init__(
        self,
        context: Context,
        run: str,
        round: int,
        rounds: int,
        attempt: str,
        worker: Callable[[Context], Worker] = LocalWorker,
    ) -> None:
        self._context, self._where, self._rounds, self._attempt = context, (run, round), rounds, attempt
        self._worker = worker(context)

    def select_clients(self) -> list[str]:
        return steps.select_clients.within(self._context, *self._where, self._rounds)

    def client(self, client: str) -> Manifest | Refused | str:
        if self._where[1] == 0:
            return steps.statistics.within(self._context, self._where[0], client, self._attempt)
        return self._worker.update(ask_for(self._context, *self._where, client, self._attempt))

    def aggregate(self, trained: Iterable[Manifest | Refused | str]) -> str:
        return steps.aggregate.within(self._context, *self._where, self._attempt)

    def evaluate(self) -> str:
        return steps.evaluate.within(self._context, *self._where)
