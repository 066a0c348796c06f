"""The published versions whose models build on given rounds, in the same run or in one that started from a version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property

from pydantic import BaseModel

from fedstream.audit.uses import RunHistory
from fedstream.catalog.versions import MANIFEST, list_aliases, list_versions, read_pointer
from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.record.layout import ModelKeys
from fedstream.record.run import RunRecord
from fedstream.record.versions import VersionManifest
from fedstream.store.loading import load_document
from fedstream.store.state import run_names
from fedstream.store.store import Store

MODEL_FILE = "model.keras"
"""The file of a version that a model owner can add as a new model."""

Rounds = Mapping[str, set[int]]
"""Run -> numbers of rounds."""


class TracedVersion(BaseModel):
    """A published version that builds on the records.

    Attributes:
        model: Name of the model.
        version: Number of the version.
        run: Run that made it.
        round: Round whose global model it is.
        trained: Whether it has learned from the records; false if the records only measured models before it.
        inherited_from: Version, as NAME@N, with whose model its run started and from which it inherits; empty if the
            records were used in its own run.
        published: Time at which it was published, on the store's clock; None if the store does not say.
        latest: Whether it is the newest version, which is served to everyone who asks for the model by its name.
        aliases: Aliases that point to it.
    """

    model: str
    version: int
    run: str
    round: int
    trained: bool
    inherited_from: str
    published: datetime | None
    latest: bool
    aliases: list[str]

    @property
    def name(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def served(self) -> bool:
        return self.latest or bool(self.aliases)


class Heirs:
    """The versions that some runs published, and which of them build on given rounds.

    Args:
        store: The bucket.
        histories: The runs, by name.

    Attributes:
        problems: Which versions could not be read, and why.
    """

    def __init__(self, store: Store, histories: Mapping[str, RunHistory]) -> None:
        self.store, self.histories, self.problems = store, histories, list[str]()
        models = sorted({history.record.model.name for history in histories.values()})
        self._manifests = {(name, number): manifest for name in models for number, manifest in self._read(name)}
        self._behind = {
            key: frozenset(histories[manifest.run].index.behind(manifest.round))
            for key, manifest in self._manifests.items()
        }

    def of(self, trained: Rounds, measured: Rounds) -> tuple[list[TracedVersion], dict[str, str]]:
        """Return the versions that build on some rounds, sorted, and the runs that inherit from one of them.

        A model that was downloaded and changed before it was added again is not recognised.

        Args:
            trained: Run -> rounds that trained on the records.
            measured: Run -> rounds in which the records were held out.

        Returns:
            (versions, run -> NAME@N of the version that it started from).
        """
        heirs: dict[str, str] = {}
        while True:
            learned = {
                key: manifest
                for key, manifest in self._manifests.items()
                if manifest.run in heirs or self._behind[key] & trained.get(manifest.run, set())
            }
            more = {
                run: f"{name}@{number}"
                for run, history in self.histories.items()
                for (name, number), manifest in learned.items()
                if _starts_from(history.record, manifest)
            }
            if more.keys() == heirs.keys():
                break
            heirs = more
        versions = []
        for key, manifest in sorted(self._manifests.items()):
            own = bool(self._behind[key] & trained.get(manifest.run, set()))
            if key in learned or self._behind[key] & measured.get(manifest.run, set()):
                versions.append(self._traced(key, manifest, key in learned, "" if own else heirs.get(manifest.run, "")))
        return versions, heirs

    def newest_without(self, versions: Iterable[TracedVersion]) -> dict[str, int]:
        """Return, for each model of some versions, its newest version that is none of them and has an own record."""
        names = {(version.model, version.version) for version in versions}
        others = sorted(self._manifests.keys() - names)
        return {name: number for name, number in others if name in {model for model, _ in names}}

    def _read(self, model: str) -> Iterator[tuple[int, VersionManifest]]:
        """Yield the versions of a model whose commit is in one of the runs."""
        for number in list_versions(self.store, model):
            key = ModelKeys(model).version(number, MANIFEST)
            try:
                manifest = load_document(VersionManifest, self.store, key)
            except (CorruptObject, ObjectNotFound) as error:
                self.problems.append(f"version {number} of model {model!r} cannot be read: {error}")
                continue
            run, history = manifest.run, self.histories.get(manifest.run)
            if not history or history.record.model.name != model:
                if run not in self._runs:
                    self.problems.append(f"{key} belongs to run {run!r}, which is not in this bucket")
                continue
            commits = history.index.commits
            if manifest.round < len(commits) and commits[manifest.round].digest == manifest.commit:
                yield number, manifest
            else:
                self.problems.append(f"{key} names no commit of run {run!r}; see `fedstream verify {run}`")

    @cached_property
    def _runs(self) -> list[str]:
        return run_names(self.store)

    def _traced(
        self, key: tuple[str, int], manifest: VersionManifest, trained: bool, inherited_from: str
    ) -> TracedVersion:
        name, number = key
        keys = ModelKeys(name)
        latest, _ = read_pointer(self.store, keys.latest)
        aliases = list_aliases(self.store, name)
        return TracedVersion(
            model=name,
            version=number,
            run=manifest.run,
            round=manifest.round,
            trained=trained,
            inherited_from=inherited_from,
            published=written_at(self.store, keys.version(number, MANIFEST)),
            latest=latest is not None and latest.version == number,
            aliases=sorted(alias for alias, at in aliases.items() if at == number),
        )


def written_at(store: Store, key: str) -> datetime | None:
    """Return the time at which an object was written, on the store's clock; None if there is no such object."""
    return next((info.last_modified for info in store.list(key) if info.key == key), None)


def _starts_from(record: RunRecord, manifest: VersionManifest) -> bool:
    """Return whether a run's initial model is the file of a version, or has its weights."""
    model = record.model
    return manifest.files.get(MODEL_FILE) == model.keras_digest or manifest.weights_digest == model.weights_digest
