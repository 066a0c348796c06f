"""What can be seen of a submitted run besides Kubeflow's tasks, where its store can be read from here: the table of rounds, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from fedstream.errors import FedstreamError
from fedstream.kubeflow.api import CHECK_S
from fedstream.model.versions import find_published
from fedstream.settings import StoreSettings
from fedstream.spec import RunSpec
from fedstream.state import RunState
from fedstream.store.objects import ObjectStore
from fedstream.watch import Watch


@dataclass(frozen=True)
class Sight:
    """The view on a run.

    Attributes:
        tell: told how the tasks of a submission go on.
        store: the bucket; absent if it cannot be read from here.
    """

    tell: Callable[[str], None]
    store: ObjectStore | None = None

    def result(self, spec: RunSpec, say: Callable[[str], None]) -> dict[str, Any]:
        """Return what `fedstream run --json` would say of the run, or nothing, and why, where the store does not tell."""
        from fedstream.local.runs import outcome

        if self.store is None:
            return {}
        try:
            return outcome(self.store, spec.run, spec.rounds, published_version(self.store, spec))
        except FedstreamError as error:
            say(f"what the run came to is not known here: {error}")
            return {}


def published_version(store: ObjectStore, spec: RunSpec) -> int:
    """Return the version that was published from the last commit of a finished run; 0 if there is none.

    Raises:
        FedstreamError: the run was never planned, or the store is away or damaged.
    """
    state = RunState(store, spec.run)
    if state.next_round(spec.rounds):
        return 0
    found = find_published(store, state.record.model.name, spec.run, state.ledger.digest(state.ledger.commits()[-1].round))
    return found.number if found else 0


@contextmanager
def sight(spec: RunSpec, console: Console, say: Callable[[str], None]) -> Iterator[Sight]:
    """Show the table of rounds while the context lasts, if the store can be read from here, or else how the tasks go on."""
    try:
        store = ObjectStore(StoreSettings.from_env())
        ObjectStore(store.settings, patience_s=CHECK_S).check()
    except FedstreamError as error:
        say(f"no table of the rounds, since the store cannot be read from here: {error}")
        yield Sight(say)
        return
    with Watch(store, spec.run, spec.rounds, console):
        yield Sight(lambda _: None, store)
