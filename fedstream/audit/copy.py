"""Copy a run to another prefix of its bucket: to run a round again, to try something, or to hand it to an auditor."""

from __future__ import annotations

from fedstream.record.layout import ModelKeys
from fedstream.record.run import RunRecord
from fedstream.store.state import RunState
from fedstream.store.store import Store


def copy_run(store: Store, run: str, prefix: str, before: int | None = None) -> Store:
    """Copy a run's objects and its initial model, and return the copy. Versions published from the run stay behind.

    Args:
        store: the bucket.
        run: name of the run.
        prefix: of the copy, below the store's own prefix.
        before: the first round that is left out, so that it is the next one in the copy; None for all rounds.

    Raises:
        RunError: there is no such run.
        ObjectConflict: the copy is there already, with other bytes.
    """
    copy = store.within(f"{prefix.strip('/')}/")
    state = RunState(store, run)
    for key in [*_initial(state.record), *(info.key for info in store.list(f"{state.keys.root}/"))]:
        if before is None or not key.startswith(state.keys.rounds) or key < state.keys.at(before).root:
            copy.put_new(key, store.get(key))
    return copy


def _initial(record: RunRecord) -> list[str]:
    keys = ModelKeys(record.model.name)
    return [keys.initial(record.model.keras_digest, suffix) for suffix in ("keras", "safetensors", "json")]
