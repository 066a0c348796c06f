"""What can be seen of a submitted run besides Kubeflow's tasks, where its store can be read from here: the table of rounds, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedstream.catalog.versions import find_published
from fedstream.errors import FedstreamError
from fedstream.record.spec import RunSpec
from fedstream.steps.outcome import outcome
from fedstream.store.state import RunState
from fedstream.store.store import Store


@dataclass(frozen=True)
class Observer:
    """Looks at a run.

    Attributes:
        tell: told how the tasks of a submission go on.
        store: the bucket; absent if it cannot be read from here.
    """

    tell: Callable[[str], None]
    store: Store | None = None

    def result(self, spec: RunSpec, say: Callable[[str], None]) -> dict[str, Any]:
        """Return what `fedstream run --json` would say of the run, or nothing, and why, where the store does not tell."""

        if self.store is None:
            return {}
        try:
            return outcome(self.store, spec.run, spec.rounds, published_version(self.store, spec))
        except FedstreamError as error:
            say(f"what the run came to is not known here: {error}")
            return {}


def published_version(store: Store, spec: RunSpec) -> int:
    """Return the version that was published from the last commit of a finished run; 0 if there is none.

    Raises:
        FedstreamError: the run was never planned, or the store is away or damaged.
    """
    state = RunState(store, spec.run)
    if state.next_round(spec.rounds):
        return 0
    found = find_published(store, state.record.model.name, spec.run, state.ledger.digest(state.ledger.commits()[-1].round))
    return found.number if found else 0
