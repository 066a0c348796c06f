"""Remove a model, or one of its versions. Must not import TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from fedstream.catalog.additions import additions
from fedstream.catalog.versions import MANIFEST, find_version, list_aliases, list_versions, read_pointer
from fedstream.errors import CorruptObject, ModelError, RunError, StoreError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import LatestVersion, RemovedVersion
from fedstream.store.state import RunState, run_names
from fedstream.store.store import Store


@dataclass(frozen=True)
class Removal:
    """A planned or completed removal.

    Attributes:
        model: Name of the model.
        version: Number of the version; None for the whole model.
        what: Description of what is removed.
        keys: Keys of the objects, in the order of their removal.
        needed_by: Runs and aliases that need the objects; a run cannot be verified without the model it starts from.
    """

    model: str
    version: int | None
    what: str
    keys: list[str]
    needed_by: list[str]


def plan_removal(store: Store, model: str, version: int | None) -> Removal:
    """Return what the removal of a model or a version would remove, and what needs it.

    Raises:
        ModelError: There is no such model or version.
    """
    return _plan_model(store, model) if version is None else _plan_version(store, model, version)


def remove(store: Store, removal: Removal) -> None:
    """Carry out a planned removal. If it is interrupted, it can be planned and carried out again.

    1. Remove the objects that refer to others, so that no reference leads to a removed object.
    2. Remove the remaining objects.

    Raises:
        StoreError: The store did not remove all objects.
    """
    if removal.version is not None:
        _step_back(store, removal.model, removal.version)
    for key in removal.keys:
        store.remove(key)
    if left := [key for key in removal.keys if store.exists(key)]:
        raise StoreError(
            f"{len(left)} of {len(removal.keys)} objects were not removed, the first is {left[0]}; "
            "check that these credentials can delete objects"
        )


def _plan_model(store: Store, model: str) -> Removal:
    keys = ModelKeys(model)
    found = [info.key for info in store.list(f"{keys.root}/")]
    if not found:
        raise ModelError(f"there is no model {model!r} in this bucket; `fedstream model list` shows the existing ones")
    first = (keys.additions, keys.latest, keys.aliases)
    ordered = sorted(found, key=lambda key: not key.startswith(first))
    versions, aliases = list_versions(store, model), list_aliases(store, model)
    told = [f"{_count(store, model)} added", f"versions {', '.join(map(str, versions))}" if versions else "no version"]
    told += [f"aliases {', '.join(aliases)}"] if aliases else []
    return Removal(model, None, f"model {model}: {'; '.join(told)}", ordered, _runs_from(store, model))


def _count(store: Store, model: str) -> str:
    try:
        files = len({added.digest for added in additions(store, model)})
    except CorruptObject:
        return "damaged files"
    return f"{files} file" if files == 1 else f"{files} files"


def _plan_version(store: Store, model: str, number: int) -> Removal:
    keys, version = ModelKeys(model), find_version(store, model, number)
    manifest, mark = keys.version(number, MANIFEST), keys.version(number, "removed.json")
    files = [info.key for info in store.list(keys.version(number, "")) if info.key not in (manifest, mark)]
    aliases = [alias for alias, named in list_aliases(store, model).items() if named == number]
    what = f"version {number} of model {model}, round {version.manifest.round} of run {version.manifest.run}"
    return Removal(
        model, number, what, [*map(keys.alias, aliases), manifest, *files], [f"alias {alias}" for alias in aliases]
    )


def _runs_from(store: Store, model: str) -> list[str]:
    """Return the runs that start from a model, and the damaged runs for which this is unknown."""
    found = []
    for run in run_names(store):
        try:
            if RunState(store, run).record.model.name == model:
                found.append(f"run {run}")
        except CorruptObject:
            found.append(f"possibly run {run}, whose spec.json is damaged,")
        except RunError:
            continue  # it was never planned
    return found


def _step_back(store: Store, model: str, number: int) -> None:
    """Reserve the number of a removed version, and point latest.json at the newest of the other versions."""
    keys = ModelKeys(model)
    mark = RemovedVersion(manifest=sha256_hex(store.get(keys.version(number, MANIFEST))))
    store.put_new_json(keys.version(number, "removed.json"), mark.model_dump(mode="json"))
    latest, etag = read_pointer(store, keys.latest)
    if latest is None or latest.version != number:
        return
    others = [other for other in list_versions(store, model) if other != number]
    if not others:
        store.remove(keys.latest)
        return
    digest = sha256_hex(store.get(keys.version(others[-1], MANIFEST)))
    if not store.put_if_match(
        keys.latest, canonical_json(LatestVersion(version=others[-1], manifest=digest).model_dump(mode="json")), etag
    ):
        raise StoreError(f"{keys.latest} was changed in the meantime; remove the version again")
