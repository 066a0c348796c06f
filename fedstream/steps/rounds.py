"""The order of the steps of a round.

The runners follow it, and a test checks that the compiled pipeline does too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

CLIENT = ("ingest_from_kafka", "local_train")
"""The steps of each selected client, in order; clients run them independently of each other."""

ROUND = ("select_clients", *CLIENT, "aggregate", "evaluate")
"""The steps of a round.

The clients are selected and run their steps. Their updates are then aggregated into the next global model, which is
measured and committed.
"""

RUN = ("plan_training", "open_round", *ROUND, "publish")
"""The steps of a run: it is planned once, then rounds are opened and run, and finally it is published."""

Trained = TypeVar("Trained")


class RoundSteps(Protocol[Trained]):
    """A way to run the steps of one round: in this process, as tasks of a pipeline, or as Jobs."""

    def select_clients(self) -> Sequence[str]:
        """Return the clients that are selected for the round."""
        ...

    def client(self, client: str) -> Trained:
        """Run the steps of a client, in the order of CLIENT."""
        ...

    def aggregate(self, trained: Iterable[Trained]) -> object:
        """Compute the next global model after all clients have ended."""
        ...

    def evaluate(self) -> object:
        """Measure the new model and commit the round."""
        ...


def one_after_another(call: Callable[[str], Trained], clients: Sequence[str]) -> Iterable[Trained]:
    """Run the clients' steps in this thread, one client after another."""
    return [call(client) for client in clients]


def run_round(
    steps: RoundSteps[Trained],
    each: Callable[[Callable[[str], Trained], Sequence[str]], Iterable[Trained]] = one_after_another,
) -> None:
    """Run one open round.

    Args:
        steps: Runs each step.
        each: Runs the steps of all clients; it can run several clients at a time if they are separate processes.
    """
    steps.aggregate(each(steps.client, steps.select_clients()))
    steps.evaluate()
