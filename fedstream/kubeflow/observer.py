"""Report the progress and the result of a submitted run; the result needs a store that can be read from here."""

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
    """An observer of a run.

    Attributes:
        tell: Called with a line whenever the tasks of a submission change.
        store: The bucket; None if it cannot be read from here.
    """

    tell: Callable[[str], None]
    store: Store | None = None

    def result(self, spec: RunSpec, say: Callable[[str], None]) -> dict[str, Any]:
        """Return what `fedstream run --json` would print about the run; report why and return {} if that is unknown."""
        if self.store is None:
            return {}
        try:
            return outcome(self.store, spec.run, spec.rounds, published_version(self.store, spec))
        except FedstreamError as error:
            say(f"the result of the run cannot be read from here: {error}")
            return {}


def published_version(store: Store, spec: RunSpec) -> int:
    """Return the version that was published from the last commit of a finished or indefinite run; 0 if there is none.

    Raises:
        FedstreamError: The run was never planned, or the store is unavailable or damaged.
    """
    state = RunState(store, spec.run)
    if state.next_round(spec.rounds) and not spec.indefinite:
        return 0
    found = find_published(
        store, state.record.model.name, spec.run, state.ledger.digest(state.ledger.commits()[-1].round)
    )
    return found.number if found else 0
