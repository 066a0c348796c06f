"""Verify a run: walk the chain, hash every object, make every global model again. Trusts nothing but the bytes in the bucket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedstream import __version__
from fedstream.aggregation.metrics import combine
from fedstream.aggregation.strategies import Weights, get_strategy
from fedstream.decision import decide, measurements
from fedstream.errors import FedstreamError, ObjectNotFound, RunError, StoreUnavailable
from fedstream.run import RunRecord
from fedstream.store.canonical import canonical_json, sha256_hex
from fedstream.store.documents import ClientEntry, Commit, Manifest, Selection, SliceDoc, Verdicts
from fedstream.store.layout import ModelKeys, RoundKeys, RunKeys
from fedstream.store.objects import ObjectStore
from fedstream.store.weights import from_bytes, to_bytes

Document = TypeVar("Document", bound=BaseModel)
StreamCheck = Callable[[SliceDoc], str]


class Problem(BaseModel):
    """An object that does not agree with the ledger.

    Attributes:
        key: the object.
        what: what is wrong with it.
    """

    key: str
    what: str


class VerifyReport(BaseModel):
    """What `fedstream verify` found.

    Attributes:
        run: name of the run.
        rounds: committed rounds, without round 0.
        objects_checked: objects whose bytes were hashed.
        records_checked: records that were read again (with --stream).
        problems: all that does not agree; empty if all is well.
    """

    run: str
    rounds: int
    objects_checked: int
    records_checked: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_run(store: ObjectStore, run: str, stream_check: StreamCheck | None = None) -> VerifyReport:
    """Verify a run from the bucket alone; with `stream_check` also its records.

    Args:
        store: the bucket.
        run: name of the run.
        stream_check: returns what is wrong with a slice's records, or an empty string.

    Raises:
        RunError: there is no such run.
        StoreUnavailable: the store does not work.
    """
    if not store.exists(RunKeys(run).spec):
        raise RunError(f"there is no run {run!r} in bucket {store.settings.bucket!r}")
    return _Audit(store, run, stream_check).report()


class _Audit:
    def __init__(self, store: ObjectStore, run: str, stream_check: StreamCheck | None) -> None:
        self.store, self.run, self.keys, self.stream_check = store, run, RunKeys(run), stream_check
        self.problems: list[Problem] = []
        self.checked: set[str] = set()
        self.records = 0
        self.slices_read: set[str] = set()

    def report(self) -> VerifyReport:
        commits: list[Commit] = []
        record = self._document(RunRecord, self.keys.spec)
        parent = self._digest(self.keys.spec)
        while self.store.exists(self.keys.at(len(commits)).commit) and record:
            keys = self.keys.at(len(commits))
            commit = self._document(Commit, keys.commit)
            if commit is None:
                break
            self._same(keys.commit, "parent", commit.parent, parent)
            self._check_round(record, commits, commit, keys)
            commits.append(commit)
            parent = self._digest(keys.commit)
        self._check_orphans(len(commits))
        if record:
            self._check_versions(record, parent)
        return VerifyReport(
            run=self.run, rounds=max(0, len(commits) - 1), objects_checked=len(self.checked), records_checked=self.records, problems=self.problems
        )

    def _check_round(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys) -> None:
        self._same(keys.commit, "run", commit.run, self.run)
        self._same(keys.commit, "round", commit.round, keys.round)
        if not before:
            self._same(keys.commit, "kind", commit.kind, "initial")
            self._same(keys.commit, "weights_digest", commit.weights_digest, record.model.weights_digest)
            self._same(keys.weights, "digest", self._digest(keys.weights), commit.weights_digest)
            return
        base = before[-1]
        self._same(keys.commit, "base_digest", commit.base_digest, base.weights_digest)
        selection, verdicts = self._document(Selection, keys.selection), self._document(Verdicts, keys.verdicts)
        self._same(keys.verdicts, "digest", self._digest(keys.verdicts), commit.verdicts_digest)
        if selection is None or verdicts is None:
            return
        self._same(keys.selection, "clients", selection.clients, [entry.client for entry in commit.clients])
        self._same(keys.selection, "kind", selection.kind, commit.kind)
        said = [(v.client, v.accepted, v.reason, v.num_examples, v.update_digest, v.manifest_digest) for v in verdicts.verdicts]
        self._same(
            keys.commit,
            "clients",
            [(e.client, e.accepted, e.reason, e.num_examples, e.update_digest, e.manifest_digest) for e in commit.clients],
            said,
        )
        manifests = [manifest for entry in commit.clients if (manifest := self._check_client(keys, entry))]
        self._check_measurement(record, before, commit, keys, manifests)
        if commit.kind == "closing":
            self._same(keys.commit, "weights_digest", commit.weights_digest, base.weights_digest)
        else:
            self._check_aggregation(record, before, commit, keys)

    def _check_client(self, keys: RoundKeys, entry: ClientEntry) -> Manifest | None:
        document = self._document(SliceDoc, keys.slice(entry.client)) if entry.slice_digest else None
        if document:
            self._same(keys.slice(entry.client), "digest of the records", document.digest, entry.slice_digest)
            self._same(keys.slice(entry.client), "ranges", document.ranges, entry.ranges)
            self._check_stream(keys.slice(entry.client), document)
        if not entry.accepted:
            return None
        key = keys.manifest(entry.client)
        self._same(key, "digest", self._digest(key), entry.manifest_digest)
        manifest = self._document(Manifest, key)
        if manifest is None:
            return None
        for name in ("update_digest", "num_examples", "slice_digest", "incoming", "trained"):
            self._same(keys.commit, f"{name} of {entry.client}", getattr(entry, name), getattr(manifest, name))
        if document:
            self._same(keys.slice(entry.client), "digest", self._digest(keys.slice(entry.client)), manifest.slice_document)
        if entry.update_digest:
            self._same(keys.update(entry.client), "digest", self._digest(keys.update(entry.client)), entry.update_digest)
        return manifest

    def _check_stream(self, key: str, document: SliceDoc) -> None:
        if self.stream_check and document.digest not in self.slices_read:
            self.slices_read.add(document.digest)
            self.records += document.records
            if what := self.stream_check(document):
                self._problem(key, what)

    def _check_measurement(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys, manifests: list[Manifest]) -> None:
        if record.spec.federated_evaluation:
            incoming = [manifest.incoming for manifest in manifests if manifest.incoming]
            self._same(keys.commit, "metrics", commit.metrics, combine(incoming) if incoming else None)
        measured = max(earlier.round for earlier in before if earlier.kind != "closing") if record.spec.federated_evaluation else keys.round
        self._same(keys.commit, "measured_round", commit.measured_round, measured if commit.metrics else None)
        history = [value for _, value in measurements([*before, commit], record.spec.target_metric)]
        self._same(keys.commit, "decision", commit.decision, decide(record.spec, history) if commit.metrics else before[-1].decision)
        versions = {manifest.code_version for manifest in manifests} | {__version__, *(other.code_version for other in before)}
        if commit.code_version not in versions:
            self._problem(keys.commit, f"code_version is {commit.code_version!r}, but its updates are of {', '.join(sorted(versions))}")

    def _check_aggregation(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys) -> None:
        self._same(keys.weights, "digest", self._digest(keys.weights), commit.weights_digest)
        try:
            base = self.keys.at(max(earlier.round for earlier in before if earlier.kind != "closing"))
            state = self._weights(base.server_state) if before[-1].server_state_digest else {}
            updates = [(entry.num_examples, self._weights(keys.update(entry.client))) for entry in commit.clients if entry.accepted]
            new, state = get_strategy(record.spec.strategy).aggregate(self._weights(base.weights), updates, state)
            self._same(keys.weights, "digest of the updates aggregated again", commit.weights_digest, sha256_hex(to_bytes(new)))
            if commit.server_state_digest:
                self._same(keys.server_state, "digest", self._digest(keys.server_state), commit.server_state_digest)
                self._same(keys.server_state, "digest of the state made again", commit.server_state_digest, sha256_hex(to_bytes(state)))
        except StoreUnavailable:
            raise
        except (FedstreamError, ValueError, KeyError) as error:
            self._problem(keys.weights, f"cannot be made again from the round's updates: {error}")

    def _check_orphans(self, committed: int) -> None:
        later = [info.key for info in self.store.list(self.keys.rounds) if info.key.endswith("/commit.json")]
        for key in sorted(later)[committed:]:
            self._problem(key, f"the chain ends at round {committed - 1}, before this commit")

    def _check_versions(self, record: RunRecord, head: str) -> None:
        """A published version names the ledger's head, so it vouches for the last commit too."""
        keys = ModelKeys(record.model.name)
        for info in self.store.list(keys.versions):
            if not info.key.endswith("/manifest.json"):
                continue
            manifest = self._json(info.key)
            if not isinstance(manifest, dict) or manifest.get("run") != self.run:
                continue
            chain = [self._digest(self.keys.at(round).commit) for round in range(int(manifest.get("round", 0)), self._rounds())]
            if manifest.get("head") not in chain:
                self._problem(
                    self.keys.at(self._rounds() - 1).commit, f"no commit has the digest that {info.key} was published from ({manifest.get('head')})"
                )
            for name, digest in manifest.get("files", {}).items():
                key = keys.version(int(manifest["version"]), name)
                self._same(key, "digest", self._digest(key), digest)

    def _rounds(self) -> int:
        return sum(info.key.endswith("/commit.json") for info in self.store.list(self.keys.rounds))

    def _document(self, kind: type[Document], key: str) -> Document | None:
        """Read a document, which must be in its canonical form."""
        data = self._bytes(key)
        if data is None:
            return None
        try:
            document = kind.model_validate_json(data)
        except ValidationError as error:
            self._problem(key, f"is no {kind.__name__}: {error.errors()[0]['msg']}")
            return None
        if canonical_json(document.model_dump(mode="json")) != data:
            self._problem(key, "is not in canonical form: its bytes were changed")
        return document

    def _weights(self, key: str) -> Weights:
        return from_bytes(self.store.get(key), key)

    def _json(self, key: str) -> Any:
        try:
            return self.store.get_json(key)
        except StoreUnavailable:
            raise
        except FedstreamError as error:
            self._problem(key, str(error))
            return None

    def _bytes(self, key: str) -> bytes | None:
        self.checked.add(key)
        try:
            return self.store.get(key)
        except ObjectNotFound:
            self._problem(key, "is missing")
            return None

    def _digest(self, key: str) -> str:
        data = self._bytes(key)
        return "" if data is None else sha256_hex(data)

    def _same(self, key: str, name: str, found: object, expected: object) -> None:
        if found != expected and found != "":
            self._problem(key, f"{name} is {_short(found)}, expected {_short(expected)}")

    def _problem(self, key: str, what: str) -> None:
        problem = Problem(key=key, what=what)
        if problem not in self.problems:
            self.problems.append(problem)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def stream_check_of(record: RunRecord, deadline_s: float) -> StreamCheck:
    """Return the check that reads a slice's records again from the client's brokers.

    Args:
        record: of the run, which knows the brokers.
        deadline_s: seconds for one slice.
    """
    from fedstream.settings import KafkaSettings
    from fedstream.stream.offsets import parse_ranges
    from fedstream.stream.reader import read_ranges

    def check(document: SliceDoc) -> str:
        try:
            records = read_ranges(
                KafkaSettings.from_env().at(record.client(document.client).bootstrap_servers), parse_ranges(document.ranges_text), deadline_s
            )
        except FedstreamError as error:
            return f"its records cannot be read again: {error}"
        return (
            ""
            if records.digest == document.digest
            else f"the records of {document.ranges_text} have digest {records.digest}, expected {document.digest}"
        )

    return check
