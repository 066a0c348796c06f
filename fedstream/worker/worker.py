"""The interface of a worker, and a worker that trains in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fedstream import steps
from fedstream.record.documents import Manifest
from fedstream.steps.context import Context
from fedstream.steps.refusal import why_refused


@dataclass(frozen=True)
class Ask:
    """A request to a worker for one client's update of one round.

    Attributes:
        run: Name of the run.
        round: Number of the round.
        client: Name of the client.
        attempt: Id of the submission; a refusal goes on record under it.
        base: SHA-256 of the global weights to train.
        slice_key: Key of the slice to train on; empty if the worker has to fix the slice itself.
    """

    run: str
    round: int
    client: str
    attempt: str
    base: str
    slice_key: str = ""


@dataclass(frozen=True)
class Refused:
    """The answer of a client that does not take part in the round, with the reason."""

    reason: str


class Worker(Protocol):
    """A place where training runs: a pod of the pipeline, this process, or a program at the data owner's site."""

    def update(self, ask: Ask) -> Manifest | Refused:
        """Return the manifest of the update, which is on record by then, or a refusal.

        An update that already exists is not computed again.
        """
        ...


def ask_for(context: Context, run: str, round: int, client: str, attempt: str) -> Ask:
    """Return the request to a worker for a client's update of an open round."""
    state = context.run(run)
    return Ask(run, round, client, attempt, state.base(round).weights_digest)


class LocalWorker:
    """A worker that trains in this process, one client at a time.

    Args:
        context: The context in which the steps run.
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
