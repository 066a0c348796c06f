"""Write a version of a model: its files, then the manifest that makes it exist."""

from __future__ import annotations

import time

from fedstream import __version__
from fedstream.errors import ObjectConflict, StoreError
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import VersionManifest
from fedstream.serving import kserve
from fedstream.steps.context import Context
from fedstream.steps.global_model import global_weights
from fedstream.steps.publication import best_measured, published
from fedstream.store.state import RunState, log

MAX_TRIES = 20
"""Number of version numbers to try when publishers race or were killed; far more than can be in flight at once."""

RIVAL_S = 10.0
"""Seconds that another publisher can take from its first file to its manifest before it is considered dead."""


def published_version(state: RunState) -> tuple[int, VersionManifest] | None:
    """Return the number and the manifest of the version that the run has published of its best model, or None."""
    found = published(state)
    return (found.number, found.manifest) if found else None


def _head(state: RunState) -> str:
    return state.ledger.digest(state.ledger.commits()[-1].round)


def publish_version(
    context: Context, state: RunState, best: Commit, pages: dict[str, bytes]
) -> tuple[int, VersionManifest]:
    """Return the version of a commit: a new one, or the one that another publisher wrote for the same commit.

    Args:
        context: The context in which the step runs.
        state: The finished run.
        best: Commit of the global model to publish.
        pages: Name -> content of further files of the version.

    Raises:
        StoreError: Other publishers took every version number that was tried.
    """
    keys = ModelKeys(state.record.model.name)
    used = (keys.version_of(info.key) for info in state.store.list(keys.versions))
    model_files = _model_files(context, state, best)
    # A version that another publisher has written since then conflicts, as intended.
    first = max((version[0] for version in used if version), default=0) + 1
    for number in range(first, first + MAX_TRIES):
        try:
            files = pages | _numbered(state, number, best, model_files)
            return number, _write_version(state, keys, number, best, files)
        except ObjectConflict:
            log.info("version %d of %s is being written by another publisher", number, state.record.model.name)
            _await_rival(context, state, keys.version(number, "manifest.json"))
            if found := published_version(state):
                return found
    raise StoreError(
        f"versions {first} to {first + MAX_TRIES - 1} of model {state.record.model.name!r} are all taken; publish again"
    )


def _await_rival(context: Context, state: RunState, key: str) -> None:
    """Wait up to RIVAL_S seconds for another publisher's manifest."""
    deadline = context.deadline(RIVAL_S)
    while not state.store.exists(key) and not deadline.passed:
        time.sleep(0.1)


def _model_files(context: Context, state: RunState, best: Commit) -> dict[str, bytes]:
    return context.learner(state).export(global_weights(context, state, best.round, best.weights_digest))


def _numbered(state: RunState, number: int, best: Commit, model_files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a version.

    The folder of a SavedModel contains the number of the version. A SavedModel also comes with the YAML that serves it.
    """
    lineage = {"run": state.run, "round": str(best.round), "weights-digest": best.weights_digest}
    folder = kserve.saved_model_folder(number)
    files = {name.replace("saved_model", folder, 1): data for name, data in model_files.items()}
    if files.keys() == model_files.keys():  # KServe has no server for this kind of model.
        return files
    return files | {
        kserve.NAME: kserve.inference_service(state.record.model.name, number, saved_model_uri(state, number), lineage)
    }


def saved_model_uri(state: RunState, number: int) -> str:
    """Return the address of the SavedModel of a version."""
    return state.store.uri(ModelKeys(state.record.model.name).version(number, "saved_model"))


def _write_version(
    state: RunState, keys: ModelKeys, number: int, best: Commit, files: dict[str, bytes]
) -> VersionManifest:
    for name, data in files.items():
        state.store.put_new(keys.version(number, name), data)
    _, measured = best_measured(state)
    manifest = VersionManifest(
        model=state.record.model.name,
        version=number,
        run=state.run,
        round=best.round,
        commit=state.ledger.digest(best.round),
        head=_head(state),
        weights_digest=best.weights_digest,
        metrics=measured.values if measured else {},
        files={name: sha256_hex(data) for name, data in files.items()},
        features=state.record.features,
        classes=state.record.classes,
        code_version=__version__,
    )
    state.store.put_new_json(keys.version(number, "manifest.json"), manifest.model_dump(mode="json"))
    return manifest
