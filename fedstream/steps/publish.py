"""publish: publish the best global model of a finished run as a version.

The step also announces the version to the data owners, moves latest.json forward, and registers the version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit
from fedstream.record.layout import ModelKeys
from fedstream.record.versions import VersionManifest
from fedstream.settings import RegistrySettings
from fedstream.steps.announcing import announce
from fedstream.steps.context import Context
from fedstream.steps.publication import best_measured, why_not_moved, why_unpublished
from fedstream.steps.runtime import step
from fedstream.steps.versioning import publish_version, published_version, saved_model_uri
from fedstream.store.state import RunState, log

if TYPE_CHECKING:
    from fedstream.record.attendance import Attendance

TOLD = 50
"""Maximum number of absent clients in the log, with their reasons; the report lists more."""


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

    The version is 0 if the run is not finished, or if its model is not published. An indefinite run is never finished:
    it publishes when its metric has moved.

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
    from fedstream.report.attachments import ATTACHMENTS, REPORT
    from fedstream.report.view import build_view

    registry = RegistrySettings.from_env()
    state = context.run(run)
    view = build_view(state.store, run, rounds)
    best, _ = best_measured(state)
    pages = {page.name: page.render(view, best.round) for page in ATTACHMENTS}
    if report_path:
        with open(report_path, "w", encoding="utf-8") as page:
            page.write(pages[REPORT])
    _show_confusion(state.ledger.commits(), state.record.classes, confusion)
    _warn_of_absent(run, view.attendance)
    if view.pending and not state.record.spec.indefinite:
        log.warning("run %s is not finished: %s; submit the same run again to continue it", run, view.decision)
        return 0
    published = published_version(state)
    if not published and (reason := why_unpublished(state)):
        log.warning("run %s is not published: %s", run, reason)
        return 0
    version, manifest = published or publish_version(
        context, state, best, {name: text.encode() for name, text in pages.items()}
    )
    digest = sha256_hex(state.store.get(ModelKeys(state.record.model.name).version(version, "manifest.json")))
    announce(context, state, version, manifest, digest)
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
    if still := why_not_moved(state):
        log.info("run %s publishes no further version: %s", run, still)
        return 0
    return version


def _warn_of_absent(run: str, attendance: Attendance) -> None:
    for absence in attendance.absent[:TOLD]:
        log.warning("run %s: %s", run, absence)
    if len(attendance.absent) > TOLD:
        log.warning("run %s: %d more are in the report", run, len(attendance.absent) - TOLD)


def _show_confusion(commits: list[Commit], classes: list[str], confusion: ConfusionArtifact | None) -> None:
    matrices = [commit.metrics.confusion for commit in commits if commit.metrics and commit.metrics.confusion]
    if confusion and matrices:
        names = classes + [str(label) for label in range(len(classes), len(matrices[-1]))]
        confusion.log_confusion_matrix(names, matrices[-1])


def _register(state: RunState, registry: RegistrySettings, number: int, manifest: VersionManifest, digest: str) -> None:
    from fedstream.serving.registry import ModelRegistry

    address = f"{saved_model_uri(state, number)}?{urlencode(state.store.access)}"
    found = ModelRegistry(registry).register(manifest, digest, address)
    log.info("registered at %s as model version %s", registry.url, found)
