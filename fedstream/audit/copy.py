"""Copy a run to another prefix of its bucket, to repeat a round, to experiment, or to hand it to an auditor."""

from __future__ import annotations

from fedstream.record.layout import ModelKeys
from fedstream.record.run import RunRecord
from fedstream.store.state import RunState
from fedstream.store.store import Store


def copy_run(store: Store, run: str, prefix: str, before: int | None = None) -> Store:
    """Copy a run's objects and its initial model, and return the copy. Published versions are not copied.

    Args:
        store: The bucket.
        run: Name of the run.
        prefix: Prefix of the copy, below the store's own prefix.
        before: First round that is not copied, which is thus the next round of the copy; None to copy all rounds.

    Raises:
        RunError: There is no such run.
        ObjectConflict: The copy already exists with different bytes.
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
