"""The order of a round's steps, written once: the runners follow it, and a test holds the compiled pipeline to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

CLIENT = ("ingest_from_kafka", "local_train")
"""What each client that is asked does, in this order; clients do it independently of one another."""

ROUND = ("select_clients", *CLIENT, "aggregate", "evaluate")
"""A round: the clients are selected, all of them do their part, then their updates become the next global model, which is measured and committed."""

RUN = ("plan_training", "open_round", *ROUND, "publish")
"""A run: planned once, then as many rounds as are opened, then published."""

Trained = TypeVar("Trained")


class RoundSteps(Protocol[Trained]):
    """How somebody runs the steps of one round: in this process, as tasks of a pipeline, as Jobs."""

    def select_clients(self) -> Sequence[str]:
        """Return the clients that the round asks."""
        ...

    def client(self, client: str) -> Trained:
        """Do a client's part: the steps of CLIENT."""
        ...

    def aggregate(self, trained: Iterable[Trained]) -> object:
        """Make the next global model, once all clients are through."""
        ...

    def evaluate(self) -> object:
        """Measure it and commit the round."""
        ...


def one_after_another(call: Callable[[str], Trained], clients: Sequence[str]) -> Iterable[Trained]:
    """Do the clients' parts in this thread."""
    return [call(client) for client in clients]


def run_round(
    steps: RoundSteps[Trained],
    each: Callable[[Callable[[str], Trained], Sequence[str]], Iterable[Trained]] = one_after_another,
) -> None:
    """Run one round, which must be open.

    Args:
        steps: how each step is run.
        each: how the clients' parts are run; several at a time where they are processes of their own.
    """
    steps.aggregate(each(steps.client, steps.select_clients()))
    steps.evaluate()
