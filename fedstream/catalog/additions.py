"""The added models that new runs start from. Must not import TensorFlow.

Every addition has a number, and the highest number is the current addition.
"""

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
"""Number of attempts when several additions compete for a number."""

END = 10**9
"""One more than the last number."""

_NUMBERED = re.compile(r"([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True)
class Added:
    """An addition: its number (1, 2, ...) and the SHA-256 of the .keras file."""

    number: int
    digest: str


def check_name(name: str) -> None:
    """Check that a model can be added under a name.

    Raises:
        UsageError: The name is invalid, or is the folder of a built-in model.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r} is not a valid model name: {NAME_RULE}, and begin with a letter or digit")
    if name in _folders():
        raise UsageError(f"{name!r} is the folder of {_folders()[name]}; choose another name")


def current(store: Store, model: str) -> Added | None:
    """Return the addition that new runs start from; None if there is none.

    Raises:
        CorruptObject: The record of the addition is damaged.
    """
    numbers = _numbers(store, model)
    return _read(store, model, numbers[-1]) if numbers else None


def additions(store: Store, model: str, newest: int = 50) -> list[Added]:
    """Return the `newest` latest additions, oldest first.

    Raises:
        CorruptObject: The record of an addition is damaged.
    """
    return [_read(store, model, number) for number in _numbers(store, model)[-newest:]]


def record_addition(store: Store, model: str, digest: str) -> None:
    """Make an uploaded model the current one of its name; do nothing if it already is.

    Raises:
        StoreError: Other processes add models so fast that no number is free, or the numbers are exhausted.
    """
    for _ in range(MAX_TRIES):
        last = current(store, model)
        if last and last.digest == digest:
            return
        number = last.number + 1 if last else 1
        if number == END:
            raise StoreError(
                f"model {model!r} has the maximum number of additions; remove the model, "
                "or add this one under another name"
            )
        try:
            store.put_new_json(ModelKeys(model).addition(number), Addition(digest=digest).model_dump(mode="json"))
            return
        except ObjectConflict:
            continue  # another file was added in the meantime; this one is newer
    raise StoreError(f"too many processes add files to model {model!r} at the same time; add this one again")


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
        advice = f"`fedstream model remove {model}` removes everything under that name"
        raise CorruptObject(
            f"{key} does not identify a model; it was changed after it was written: {advice}"
        ) from error
