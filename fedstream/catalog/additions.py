"""Which added model runs start from: every addition is numbered, and the highest number is the current one. Must not import TensorFlow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from fedstream.errors import CorruptObject, ObjectConflict, StoreError, UsageError
from fedstream.model.builtin import builtin_names
from fedstream.record.layout import MODELS, ModelKeys
from fedstream.record.names import NAME, NAME_RULE
from fedstream.record.versions import Addition
from fedstream.store.store import Store

MAX_TRIES = 50
"""Numbers tried when several add at once."""

END = 10**9
"""Behind the last number."""

_NUMBERED = re.compile(r"([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True)
class Added:
    """An addition: its number (1, 2, ...), and the SHA-256 of the .keras file."""

    number: int
    digest: str


def check_name(name: str) -> None:
    """Check that a model may be added under a name.

    Raises:
        UsageError: it is no name, or that of a folder of a built-in model.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r} is no name for a model: {NAME_RULE}, and begin with a letter or digit")
    if name in _folders():
        raise UsageError(f"{name!r} is where {_folders()[name]} is kept; choose another name")


def current(store: Store, model: str) -> Added | None:
    """Return the addition that new runs start from, if there is one.

    Raises:
        CorruptObject: its record is damaged.
    """
    numbers = _numbers(store, model)
    return _read(store, model, numbers[-1]) if numbers else None


def additions(store: Store, model: str, newest: int = 50) -> list[Added]:
    """Return the newest additions, oldest first.

    Raises:
        CorruptObject: a record is damaged.
    """
    return [_read(store, model, number) for number in _numbers(store, model)[-newest:]]


def record_addition(store: Store, model: str, digest: str) -> None:
    """Make an uploaded model the current one of its name; if it is that already, nothing changes.

    Raises:
        StoreError: others add models faster than this.
    """
    for _ in range(MAX_TRIES):
        last = current(store, model)
        if last and last.digest == digest:
            return
        number = last.number + 1 if last else 1
        if number == END:
            raise StoreError(f"additions of model {model!r} have reached the last number; remove the model, or add this one under another name")
        try:
            store.put_new_json(ModelKeys(model).addition(number), Addition(digest=digest).model_dump(mode="json"))
            return
        except ObjectConflict:
            continue  # another one was added meanwhile; this one is the newer
    raise StoreError(f"models are added to {model!r} faster than this one can be; add it again")


def list_models(store: Store) -> list[str]:
    """Return the names of the models in the store, sorted."""
    folders = _folders()
    parts = [info.key.split("/") for info in store.list(MODELS)]
    found = {part[1] for part in parts if len(part) == 4 and part[2] == "added" and _NUMBERED.fullmatch(part[3])}
    return sorted(folders.get(folder, folder) for folder in found if re.fullmatch(NAME, folder))


def _folders() -> dict[str, str]:
    return {ModelKeys(name).root.removeprefix(MODELS): name for name in builtin_names()}


def _numbers(store: Store, model: str) -> list[int]:
    prefix = ModelKeys(model).additions
    names = [_NUMBERED.fullmatch(info.key.removeprefix(prefix)) for info in store.list(prefix)]
    return sorted(int(name[1]) for name in names if name)


def _read(store: Store, model: str, number: int) -> Added:
    key = ModelKeys(model).addition(number)
    try:
        return Added(number, Addition.model_validate_json(store.get(key)).digest)
    except ValidationError as error:
        advice = f"`fedstream model remove {model}` removes all of that name"
        raise CorruptObject(f"{key} names no model; it was changed after it was written: {advice}") from error
