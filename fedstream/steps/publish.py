"""publish: publish the best global model of a finished run as a version.

The step also announces the version to the data owners, moves latest.json forward, and registers the version.
"""

from __future__ import annotations

import json
import time
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from fedstream import __version__
from fedstream.catalog.models import read_description
from fedstream.catalog.versions import find_published, names_a_version, read_pointer
from fedstream.deadline import Deadline
from fedstream.errors import BrokerError, ObjectConflict, StoreError
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.documents import Commit
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import LatestVersion, VersionManifest
from fedstream.serving import kserve
from fedstream.settings import RegistrySettings
from fedstream.steps.context import Context
from fedstream.steps.global_model import global_weights
from fedstream.steps.publication import best_measured, why_unpublished
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.store.state import RunState, log
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC, ModelAnnouncement
from fedstream.stream.broker import Broker
from fedstream.stream.sink import announce_model

MAX_TRIES = 20
"""Number of version numbers to try when publishers race or were killed; far more than can be in flight at once."""
TOLD = 50
"""Maximum number of absent clients in the log, with their reasons; the report lists more."""
RIVAL_S = 10.0
"""Seconds that another publisher can take from its first file to its manifest before it is considered dead."""


AWAY_S = 60.0
"""Seconds that all brokers together can be unavailable while a version is announced; a restart takes less."""


class ModelArtifact(Protocol):
    """The part of KFP's Model artifact that is used."""

    metadata: dict[str, Any]


class ConfusionArtifact(Protocol):
    """The part of KFP's ClassificationMetrics artifact that is used."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None: ...


@step
def publish(
    context: Context,
    run: str,
    rounds: int,
    report_path: str | None = None,
    model: ModelArtifact | None = None,
    confusion: ConfusionArtifact | None = None,
) -> int:
    """Publish the best measured model of a run and return its version.

    The version is 0 if the run is not finished, or if its model is not published.

    1. Write the version's files.
    2. Write the version's manifest, which makes the version exist.
    3. Announce the version to the data owners.
    4. Move latest.json forward.
    5. Register the version in Kubeflow Model Registry, if MODEL_REGISTRY_URL is set.

    When the same commit is published again, it keeps its version.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        rounds: Total number of training rounds.
        report_path: Path of the HTML report, which is also written for an unfinished run; None for no report.
        model: KFP artifact whose metadata is filled.
        confusion: KFP artifact to fill.

    Raises:
        RegistryError: The registry does not accept the version. The version is published nevertheless; a second call
            registers it.
    """
    from fedstream.report.html import render_report
    from fedstream.report.model_card import render_model_card
    from fedstream.report.view import build_view

    registry = RegistrySettings.from_env()
    state = context.run(run)
    view = build_view(state.store, run, rounds)
    report = render_report(view)
    if report_path:
        with open(report_path, "w", encoding="utf-8") as page:
            page.write(report)
    commits = state.ledger.commits()
    _show_confusion(commits, state.record.classes, confusion)
    for absence in view.attendance.absent[:TOLD]:
        log.warning("run %s: %s", run, absence)
    if len(view.attendance.absent) > TOLD:
        log.warning("run %s: %d more are in the report", run, len(view.attendance.absent) - TOLD)
    if view.pending:
        log.warning("run %s is not finished: %s; submit the same run again to continue it", run, view.decision)
        return 0
    published = _published(state)
    if not published and (reason := why_unpublished(state)):
        log.warning("run %s is finished, but not published: %s", run, reason)
        return 0
    best, _ = best_measured(state)
    pages = {"report.html": report.encode(), "model_card.md": render_model_card(view, best.round).encode()}
    version, manifest = published or _version(context, state, best, pages)
    digest = sha256_hex(state.store.get(ModelKeys(state.record.model.name).version(version, "manifest.json")))
    _announce(context, state, version, manifest, digest)
    if model:
        model.metadata |= {
            key: value
            for key, value in manifest.model_dump(mode="json").items()
            if isinstance(value, str | int | float)
        }
    log.info(
        "model %s version %d is round %d of run %s, %s",
        state.record.model.name,
        version,
        best.round,
        run,
        view.attendance.summary,
    )
    if registry:
        _register(state, registry, version, manifest, digest)
    return version


def _show_confusion(commits: list[Commit], classes: list[str], confusion: ConfusionArtifact | None) -> None:
    matrices = [commit.metrics.confusion for commit in commits if commit.metrics and commit.metrics.confusion]
    if confusion and matrices:
        names = classes + [str(label) for label in range(len(classes), len(matrices[-1]))]
        confusion.log_confusion_matrix(names, matrices[-1])


def _published(state: RunState) -> tuple[int, VersionManifest] | None:
    """Return the number and the manifest of the version that was published from the run's last commit, or None."""
    found = find_published(state.store, state.record.model.name, state.run, _head(state))
    return (found.number, found.manifest) if found else None


def _head(state: RunState) -> str:
    return state.ledger.digest(state.ledger.commits()[-1].round)


def _version(context: Context, state: RunState, best: Commit, pages: dict[str, bytes]) -> tuple[int, VersionManifest]:
    """Return the version of a commit: a new one, or the one that another publisher wrote for the same commit."""
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
            if found := _published(state):
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
        kserve.NAME: kserve.inference_service(
            state.record.model.name, number, state.store.uri(_saved_model(state, number)), lineage
        )
    }


def _saved_model(state: RunState, number: int) -> str:
    return ModelKeys(state.record.model.name).version(number, "saved_model")


def _register(state: RunState, registry: RegistrySettings, number: int, manifest: VersionManifest, digest: str) -> None:
    from fedstream.serving.registry import ModelRegistry

    address = f"{state.store.uri(_saved_model(state, number))}?{urlencode(state.store.access)}"
    found = ModelRegistry(registry).register(manifest, digest, address)
    log.info("registered at %s as model version %s", registry.url, found)


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


def _announce(context: Context, state: RunState, version: int, manifest: VersionManifest, digest: str) -> None:
    """Announce a version to the data owners, then move latest.json.

    If the step is killed in between, the next publish announces the version again.
    """
    keys = ModelKeys(state.record.model.name)
    latest = canonical_json(LatestVersion(version=version, manifest=digest).model_dump(mode="json"))
    for _ in range(MAX_TRIES):
        current, etag = read_pointer(state.store, keys.latest)
        if current and current.version >= version and names_a_version(state.store, keys, current):
            return
        announcement = _announcement(state, manifest)
        _tell(context, state, announcement)
        if state.store.put_if_match(keys.latest, latest, etag):
            return
    raise StoreError(f"{keys.latest} changes faster than it can be moved; publish again")


def _tell(context: Context, state: RunState, announcement: ModelAnnouncement) -> None:
    """Announce a version at each broker.

    A site's broker that does not answer is skipped, so that all other owners still receive the announcement.
    """
    patience = context.deadline(AWAY_S)
    for servers in state.record.spec.bootstrap_servers:
        try:
            _tell_at(context.brokers.at(servers), announcement, patience)
        except BrokerError:
            if not servers:
                raise
            log.warning(
                "the brokers %s of a site do not answer; the version is not announced there", servers, exc_info=True
            )


def _tell_at(broker: Broker, announcement: ModelAnnouncement, patience: Deadline) -> None:
    patiently(patience, lambda _: announce_model(broker.writer(), announcement, MODEL_CONTROL_TOPIC))


def _announcement(state: RunState, manifest: VersionManifest) -> ModelAnnouncement:
    record, file = state.record, next(name for name in manifest.files if name.startswith("model."))
    key = ModelKeys(record.model.name).version(manifest.version, file)
    description, place = (
        read_description(state.store, record.model.name, record.model.keras_digest),
        urlsplit(state.store.uri(key)),
    )
    return ModelAnnouncement(
        model_format={
            "input_shape": _spaced(description.input_shape),
            "output_shape": _spaced(description.output_shape),
        },
        federated_params={
            "federated_string_id": state.run,
            "data_restriction": json.dumps(record.spec.data_restriction, sort_keys=True),
            "min_data": record.spec.min_data,
        },
        model=record.model.name,
        version=manifest.version,
        run=state.run,
        bucket=place.netloc,
        model_key=place.path.removeprefix("/"),
        model_digest=manifest.files[file],
        weights_digest=manifest.weights_digest,
        head=manifest.head,
        features=record.features,
        classes=record.classes,
    )


def _spaced(shape: list[int]) -> str:
    return " ".join(map(str, shape))
