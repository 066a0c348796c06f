"""Remove a model, or one of its versions, that nothing needs. Must not import TensorFlow."""

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
    """What would be removed, or was.

    Attributes:
        model: name of the model.
        version: the one version; None for the whole model.
        what: in words.
        keys: of the objects, in the order of their removal.
        needed_by: what would miss them; a run that starts from the model cannot be verified without it.
    """

    model: str
    version: int | None
    what: str
    keys: list[str]
    needed_by: list[str]


def plan_removal(store: Store, model: str, version: int | None) -> Removal:
    """Say what removing a model, or one version, would remove, and who needs it.

    Raises:
        ModelError: there is no such model or version.
    """
    return _plan_model(store, model) if version is None else _plan_version(store, model, version)


def remove(store: Store, removal: Removal) -> None:
    """Remove what was planned. Interrupted, it can be planned and done again.

    1. what names the objects, so that nobody is sent to what is gone; 2. the objects.

    Raises:
        StoreError: the store did not remove all of it.
    """
    if removal.version is not None:
        _step_back(store, removal.model, removal.version)
    for key in removal.keys:
        store.remove(key)
    if left := [key for key in removal.keys if store.exists(key)]:
        raise StoreError(f"{len(left)} objects of {len(removal.keys)} are still there, the first is {left[0]}: may these credentials remove objects?")


def _plan_model(store: Store, model: str) -> Removal:
    keys = ModelKeys(model)
    found = [info.key for info in store.list(f"{keys.root}/")]
    if not found:
        raise ModelError(f"there is no model {model!r} in this bucket; `fedstream model list` shows what there is")
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
    return Removal(model, number, what, [*map(keys.alias, aliases), manifest, *files], [f"alias {alias}" for alias in aliases])


def _runs_from(store: Store, model: str) -> list[str]:
    """Return the runs that start from a model; of one that is damaged nobody knows."""
    found = []
    for run in run_names(store):
        try:
            if RunState(store, run).record.model.name == model:
                found.append(f"run {run}")
        except CorruptObject:
            found.append(f"perhaps run {run}, whose spec.json is damaged")
        except RunError:
            continue  # it was never planned
    return found


def _step_back(store: Store, model: str, number: int) -> None:
    """Keep the version's number from being given again, and let latest.json name the newest of the others."""
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
    if not store.put_if_match(keys.latest, canonical_json(LatestVersion(version=others[-1], manifest=digest).model_dump(mode="json")), etag):
        raise StoreError(f"{keys.latest} was moved meanwhile; remove the version again")
