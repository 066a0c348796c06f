"""RunView: everything that the report, the model card and the history show of a run, read from the store once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from fedstream.catalog.versions import MANIFEST, list_versions
from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.privacy.accounting import why_exhausted
from fedstream.record.attendance import Attendance, attendance
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import ClientEntry, Commit
from fedstream.record.decision import lineage, round_to_publish, rounds_behind, trained_rounds
from fedstream.record.description import ModelDescription
from fedstream.record.documents import Manifest, Opening, Refusal, Selection, SliceDoc
from fedstream.record.layout import ModelKeys, RoundKeys, RunKeys
from fedstream.record.reading import DOCUMENT_BYTES, read_document
from fedstream.record.run import RunRecord
from fedstream.record.spec import RunSpec
from fedstream.record.versions import VersionManifest
from fedstream.report.drift import read_drifts
from fedstream.report.elements import ClientView, Pending, RoundView, Version
from fedstream.report.reading import check, read, read_if_sound
from fedstream.store.state import RunState
from fedstream.store.store import ObjectInfo, Store
from fedstream.text import count

NEWEST_VERSIONS = 50
"""Maximum number of published versions of the model that are searched for those of this run; each takes a request."""


@dataclass(frozen=True)
class RunView:
    """A run as recorded in the store.

    Attributes:
        record: Content of spec.json.
        spec: The spec on record, with the operational values of the newest submission.
        spec_digest: SHA-256 of spec.json, which is the parent of round 0.
        model: Description of the initial model; None if it is not in the bucket.
        rounds: Committed rounds, beginning with round 0.
        clients: Clients, sorted by name.
        pending: The next round; None if the run is finished.
        versions: Versions published from this run.
        asked: Total number of training rounds wanted; of an indefinite run, those done.
        best: Round of the model to publish (see fedstream.record.decision); None before a round is trained.
        attendance: Clients that took part, and those that did not with the reason.
        planned: Time at which spec.json was written.
    """

    record: RunRecord
    spec: RunSpec
    spec_digest: str
    model: ModelDescription | None
    rounds: list[RoundView]
    clients: list[ClientView]
    pending: Pending | None
    versions: list[Version]
    asked: int
    best: int | None
    attendance: Attendance
    planned: datetime | None

    @property
    def run(self) -> str:
        return self.record.spec.run

    @property
    def metric(self) -> str:
        """The target metric."""
        return self.record.spec.target_metric

    @property
    def metric_names(self) -> list[str]:
        """Metrics of the global models: first the target metric, then the loss, then the others by name."""
        names = {name for view in self.rounds if view.counts and view.metrics for name in view.metrics.values}
        first = [name for name in dict.fromkeys((self.metric, "loss")) if name in names]
        return first + sorted(names.difference(first))

    @property
    def trained(self) -> int:
        """Number of completed training rounds, without those undone by a rollback."""
        return sum(view.commit.kind == "training" for view in self.rounds if view.counts)

    @property
    def closing_passes(self) -> int:
        """Number of passes in which the clients only evaluated the model."""
        return sum(view.commit.kind == "closing" for view in self.rounds if view.counts)

    @property
    def progress(self) -> str:
        """The progress of the run: `3 of 3 rounds and a closing pass`."""
        passes = self.closing_passes
        closed = "" if not passes else " and a closing pass" if passes == 1 else f" and {passes} closing passes"
        return f"{self.trained} of {count(self.asked, 'round')}{closed}"

    @property
    def ended(self) -> datetime | None:
        """Time at which the last commit of a finished run was written."""
        return self.head.ended if self.head and self.pending is None else None

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by label; empty if none were announced."""
        return self.record.classes

    @property
    def unrelated(self) -> int:
        """Number of announcements that were read but do not concern the run."""
        return sum(not row.related for row in self.record.announcements)

    @property
    def head(self) -> RoundView | None:
        return self.rounds[-1] if self.rounds else None

    @property
    def best_view(self) -> RoundView | None:
        return None if self.best is None else self.rounds[self.best]

    @property
    def decision(self) -> str:
        """Why the run is finished, or what comes next; a sentence without its full stop."""
        if (
            self.pending is None
            and self.head
            and self.head.commit.decision.action == "stop"
            and self.head.commit.decision.reason
        ):
            return self.head.commit.decision.reason
        if self.pending is None:
            exhausted = why_exhausted(self.record, [view.commit for view in self.rounds])
            return exhausted or f"all {self.trained} training rounds are done"
        if self.pending.kind == "closing":
            return "the closing pass, which only evaluates, is next"
        return f"round {self.trained + 1} is next"

    def series(self, metric: str) -> list[tuple[int, float]]:
        """Return (round, value) of each evaluated global model."""
        return [
            (view.number, view.metrics.values[metric])
            for view in self.rounds
            if view.counts and view.metrics and metric in view.metrics.values
        ]

    def spread(self, metric: str) -> list[tuple[int, float, float]]:
        """Return (round, lowest, highest) of each global model over the clients that received it."""
        found = []
        for view in self.rounds[1:]:
            if not view.counts:
                continue
            values = [
                entry.incoming.values[metric]
                for entry in view.accepted
                if entry.incoming and metric in entry.incoming.values
            ]
            if len(values) > 1:
                found.append((view.number - 1, min(values), max(values)))
        return found


def build_view(store: Store, run: str, rounds: int | None = None) -> RunView:
    """Read a run from the store.

    Args:
        store: Bucket of the run.
        run: Name of the run.
        rounds: Total number of training rounds wanted; None for the number on record, or the number done if larger.

    Raises:
        RunError: There is no such run in the bucket.
        CorruptObject: An object cannot be read.
    """
    state = RunState(store, run)
    record, commits = check(state.record, state.keys.spec), state.ledger.commits()
    for number, commit in enumerate(commits):
        check(commit, state.keys.at(number).commit)
        if (commit.run, commit.round) != (run, number):
            raise CorruptObject(
                f"{state.keys.at(number).commit} contains a different commit; "
                f"`fedstream verify {run}` reports what else is damaged"
            )
    infos = {info.key: info for info in store.list(f"{state.keys.root}/")}
    trained = trained_rounds(commits)
    asked = trained if record.spec.indefinite else max(rounds or record.spec.rounds, trained)
    coming = state.next_round(asked) if commits else (0, "initial")
    planned = infos.get(state.keys.spec)
    return RunView(
        record=record,
        spec=state.spec,
        spec_digest=sha256_hex(store.get(state.keys.spec)),
        model=_model(store, record),
        rounds=_rounds(commits, [state.ledger.digest(commit.round) for commit in commits], infos),
        clients=_clients(store, record, commits, infos),
        pending=_pending(store, run, coming[0], coming[1], infos) if coming else None,
        versions=_versions(store, record),
        asked=asked,
        best=round_to_publish(commits, record.spec) if trained else None,
        attendance=attendance(record, commits),
        planned=planned.last_modified if planned else None,
    )


def _rounds(commits: list[Commit], digests: list[str], infos: dict[str, ObjectInfo]) -> list[RoundView]:
    kept, behind = {commit.round for commit in lineage(commits)}, rounds_behind(commits)
    measured: dict[int | None, Commit] = {}
    for commit in commits:
        if commit.metrics:
            measured.setdefault(commit.measured_round, commit)
    views = []
    for commit, digest in zip(commits, digests, strict=True):
        keys = RoundKeys(commit.run, commit.round)
        start, end = infos.get(keys.selection), infos.get(keys.commit)
        by = measured.get(commit.round)
        views.append(
            RoundView(
                commit=commit,
                digest=digest,
                metrics=by.metrics if by else None,
                measured_in=by.round if by else None,
                ended=end.last_modified if end else None,
                seconds=(end.last_modified - start.last_modified).total_seconds() if start and end else None,
                counts=commit.round in kept,
                behind=behind[commit.round],
                sent=_sent(keys, commit, infos),
            )
        )
    return views


def _sent(keys: RoundKeys, commit: Commit, infos: dict[str, ObjectInfo]) -> dict[str, int]:
    updates = {entry.client: keys.update(entry.client, entry.update_digest or "") for entry in commit.clients}
    return {client: infos[key].size for client, key in updates.items() if key in infos}


def _clients(store: Store, record: RunRecord, commits: list[Commit], infos: dict[str, ObjectInfo]) -> list[ClientView]:
    entries: dict[str, list[tuple[int, str, ClientEntry]]] = {}
    for commit in commits:
        for entry in commit.clients:
            entries.setdefault(entry.client, []).append((commit.round, commit.kind, entry))
    dropped = frozenset(commit.round for commit in commits).difference(commit.round for commit in lineage(commits))
    newest_first = [RoundKeys(commit.run, commit.round) for commit in reversed(commits)]
    views = []
    for matched in record.clients:
        slice_key = next((key for keys in newest_first if (key := keys.slice(matched.client)) in infos), None)
        manifest_keys = [key for keys in newest_first if (key := keys.manifest(matched.client)) in infos]
        first = read_if_sound(store, Manifest, manifest_keys[-1]) if record.spec.baseline and manifest_keys else None
        view = ClientView(
            matched=matched,
            rounds=entries.get(matched.client, []),
            slice=read_if_sound(store, SliceDoc, slice_key) if slice_key else None,
            manifest=read_if_sound(store, Manifest, manifest_keys[0]) if manifest_keys else None,
            alone=first.alone if first else None,
            dropped=dropped,
        )
        if record.spec.feed.live:
            counted = [number for number, _ in view.trained]
            drifts = read_drifts(store, RunKeys(record.spec.run), view.name, counted, infos.keys())
            view = replace(view, drifts=drifts)
        views.append(view)
    return views


def _pending(store: Store, run: str, round: int, kind: str, infos: dict[str, ObjectInfo]) -> Pending:
    keys = RoundKeys(run, round)
    asked = read(store, Selection, keys.selection).clients if keys.selection in infos else []
    arrived = [client for client in asked if keys.manifest(client) in infos]
    told = [info for info in infos.values() if info.key.startswith(f"{keys.root}/refusals/")]
    newest: dict[str, Refusal] = {}
    for info in sorted(told, key=lambda info: (info.last_modified, info.key)):
        if refusal := read_if_sound(store, Refusal, info.key):
            newest[refusal.client] = refusal
    openings = [info for info in infos.values() if info.key.startswith(f"{keys.root}/opened/")]
    last = max(openings, key=lambda info: (info.last_modified, info.key), default=None)
    opening = read_if_sound(store, Opening, last.key) if last else None
    refusals = [newest[client] for client in sorted(newest) if client not in arrived]
    return Pending(round, kind, asked, arrived, refusals, opening.idle if opening else "")


def _model(store: Store, record: RunRecord) -> ModelDescription | None:
    try:
        return read(store, ModelDescription, ModelKeys(record.model.name).initial(record.model.keras_digest, "json"))
    except ObjectNotFound:
        return None


def _versions(store: Store, record: RunRecord) -> list[Version]:
    keys = ModelKeys(record.model.name)
    found = []
    for number in list_versions(store, record.model.name)[-NEWEST_VERSIONS:]:
        key = keys.version(number, MANIFEST)
        data = store.get(key, DOCUMENT_BYTES)
        with suppress(CorruptObject):
            manifest = check(read_document(VersionManifest, data, key), key)
            if manifest.run == record.spec.run:
                found.append(Version(number, manifest.round, sha256_hex(data)))
    return found
