"""What a worker is, and the one that trains in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fedstream import steps
from fedstream.record.documents import Manifest
from fedstream.steps.context import Context
from fedstream.steps.refusal import why_refused


@dataclass(frozen=True)
class Ask:
    """What a worker is asked for: one client's update of one round.

    Attributes:
        run: name of the run.
        round: number of the round.
        client: name of the client.
        attempt: id of the submission, under which a refusal is put on record.
        base: SHA-256 of the global weights to train.
        deadline_s: seconds until nobody waits for the update any more.
        slice_key: key of the slice to train on; empty for one that the worker has to fix itself.
    """

    run: str
    round: int
    client: str
    attempt: str
    base: str
    deadline_s: float
    slice_key: str = ""


@dataclass(frozen=True)
class Refused:
    """The answer of a client that does not take part in the round, and why."""

    reason: str


class Worker(Protocol):
    """A place where training runs: a pod of the pipeline, this process, a program at the data owner's."""

    def update(self, ask: Ask) -> Manifest | Refused:
        """Return the manifest of the update, which is on record then, or a refusal. An update that is there already is not made again."""
        ...


def ask_for(context: Context, run: str, round: int, client: str, attempt: str) -> Ask:
    """Return what a worker is asked for in a round that is open."""
    state = context.run(run)
    return Ask(run, round, client, attempt, state.base(round).weights_digest, state.record.spec.round_deadline_s)


class LocalWorker:
    """Trains in this process, one client at a time.

    Args:
        context: where it works.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def update(self, ask: Ask) -> Manifest | Refused:
        where, state = (ask.run, ask.round, ask.client), self._context.run(ask.run)
        if (base := state.base(ask.round).weights_digest) != ask.base:
            return Refused(f"the ask is for weights {ask.base[:12]}, but round {ask.round} builds on {base[:12]}")
        slice_key = ask.slice_key or steps.ingest_from_kafka.within(self._context, *where, ask.attempt).slice_key
        said = steps.local_train.within(self._context, *where, slice_key, ask.attempt)
        if state.finished(ask.round, ask.client):
            return state.manifest(ask.round, ask.client)
        return Refused(why_refused(state, ask.round, ask.client, ask.attempt) or said)
