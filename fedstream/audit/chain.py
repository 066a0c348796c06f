"""Verify a run: walk the chain, hash every object, make every global model again. Trusts nothing but the bytes in the bucket."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from pydantic import BaseModel

from fedstream import __version__
from fedstream.aggregation.metrics import combine
from fedstream.aggregation.strategies import get_strategy
from fedstream.audit.evidence import Evidence, Link, Problem
from fedstream.audit.published import PublishedVersions
from fedstream.decision import decide, measurements
from fedstream.errors import FedstreamError, RunError, StoreUnavailable
from fedstream.run import RunRecord, select
from fedstream.store.canonical import sha256_hex
from fedstream.store.documents import ClientEntry, Commit, Manifest, Selection, SliceDoc, Verdicts
from fedstream.store.layout import RoundKeys, RunKeys
from fedstream.store.mapped import Downloads
from fedstream.store.objects import ObjectStore
from fedstream.store.weights import to_bytes

StreamCheck = Callable[[SliceDoc], str]


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
        self.run, self.keys, self.stream_check = run, RunKeys(run), stream_check
        self.evidence = Evidence(store)
        self.records = 0
        self.slices_read: set[str] = set()

    def report(self) -> VerifyReport:
        """1. read the chain; 2. find what in it was changed; 3. check each round, and what was published, against the rest."""
        record = self.evidence.document(RunRecord, self.keys.spec)
        commits, chain = self._read_chain()
        versions = PublishedVersions(self.evidence, self.run, record.model, chain) if record else None
        self._check_links(chain, versions.claims if versions else {}, versions.vouched if versions else set())
        if record and versions and not self.evidence.accused(self.keys.spec):
            for number, commit in enumerate(commits):
                if not self.evidence.accused(self.keys.at(number).commit):
                    self._check_round(record, commits[:number], commit, self.keys.at(number))
            versions.check(commits)
        return VerifyReport(
            run=self.run,
            rounds=max(0, len(commits) - 1),
            objects_checked=self.evidence.checked,
            records_checked=self.records,
            problems=self.evidence.problems,
        )

    def _read_chain(self) -> tuple[list[Commit], list[Link]]:
        commits: list[Commit] = []
        chain = [Link(self.keys.spec, self.evidence.digest(self.keys.spec))]
        written = {info.key for info in self.evidence.store.list(self.keys.rounds) if info.key.endswith("/commit.json")}
        while (key := self.keys.at(len(commits)).commit) in written:
            commit = self.evidence.document(Commit, key)
            if commit is None:
                return commits, chain
            commits.append(commit)
            chain.append(Link(key, self.evidence.digest(key), commit.parent))
        if later := sorted(written - {link.key for link in chain}):
            self.evidence.problem(key, f"is missing, but there is {later[0]}")
        return commits, chain

    def _check_links(self, chain: list[Link], claims: dict[str, set[str]], vouched: set[str]) -> None:
        """Name the object that was changed: where two do not fit, the one that nobody vouches for.

        Args:
            chain: the spec and all commits.
            claims: key of a version's manifest -> digests of commits it names.
            vouched: keys of manifests that latest.json vouches for.
        """
        named = set[str]().union(*claims.values())
        known = {digest for link in chain for digest in (link.digest, link.parent)}
        stray = [(key, digest) for key, digests in sorted(claims.items()) for digest in sorted(digests - known)]
        whole = [before.digest == after.parent for before, after in pairwise(chain)]
        for number, (before, after) in enumerate(pairwise(chain)):
            if whole[number]:
                continue
            last = number + 1 == len(whole)
            sound = after.parent in named or (after.digest in named if last else whole[number + 1])
            if sound or (last and not stray):
                self.evidence.problem(before.key, f"digest is {before.digest}, but {after.key} follows {after.parent}")
            if not sound:
                self.evidence.problem(after.key, f"parent is {after.parent}, but {before.key} has digest {before.digest}")
        for key, digest in stray:
            if all(whole):
                self.evidence.problem(chain[-1].key, f"no commit has the digest that {key} names ({digest})")
            if key not in vouched:
                self.evidence.problem(key, f"names a commit that is not there ({digest})")

    def _check_round(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys) -> None:
        same = self.evidence.same
        same(keys.commit, "run", commit.run, self.run)
        same(keys.commit, "round", commit.round, keys.round)
        if not before:
            same(keys.commit, "kind", commit.kind, "initial")
            same(keys.commit, "weights_digest", commit.weights_digest, record.model.weights_digest)
            self.evidence.has_digest(keys.weights, commit.weights_digest)
            return
        selection, verdicts = self.evidence.document(Selection, keys.selection), self.evidence.document(Verdicts, keys.verdicts)
        asked = select(record.spec, keys.round, [client.client for client in record.clients])
        if selection:
            expected = Selection(run=self.run, round=keys.round, kind="closing" if commit.kind == "closing" else "training", clients=asked)
            same(keys.selection, "content", selection, expected)
        if self.evidence.has_digest(keys.verdicts, commit.verdicts_digest) and verdicts:
            said = [(v.client, v.accepted, v.reason, v.num_examples, v.update_digest, v.manifest_digest) for v in verdicts.verdicts]
            entries = [(e.client, e.accepted, e.reason, e.num_examples, e.update_digest, e.manifest_digest) for e in commit.clients]
            same(keys.commit, "clients", entries, said)
        manifests = [self._check_client(keys, commit, entry) for entry in commit.clients]
        if any(self.evidence.accused(self.keys.at(earlier).commit) for earlier in range(len(before))):
            return
        same(keys.commit, "base_digest", commit.base_digest, before[-1].weights_digest)
        if all(manifest or not entry.accepted for manifest, entry in zip(manifests, commit.clients, strict=True)):
            accepted = [manifest for manifest, entry in zip(manifests, commit.clients, strict=True) if manifest and entry.accepted]
            self._check_measurement(record, before, commit, keys, accepted)
        if commit.kind == "closing":
            same(keys.commit, "weights_digest", commit.weights_digest, before[-1].weights_digest)
        else:
            self._check_aggregation(record, before, commit, keys)

    def _check_client(self, keys: RoundKeys, commit: Commit, entry: ClientEntry) -> Manifest | None:
        """Check what is on record of a client, and return the manifest if it is whole."""
        same, key = self.evidence.same, keys.slice(entry.client)
        if entry.slice_document and self.evidence.has_digest(key, entry.slice_document) and (document := self.evidence.document(SliceDoc, key)):
            same(keys.commit, f"slice_digest of {entry.client}", entry.slice_digest, document.digest)
            same(keys.commit, f"ranges of {entry.client}", entry.ranges, document.ranges)
            self._check_stream(key, document)
        if entry.update_digest:
            self.evidence.has_digest(keys.update(entry.client, entry.update_digest), entry.update_digest)
        key = keys.manifest(entry.client)
        if not entry.manifest_digest or not self.evidence.has_digest(key, entry.manifest_digest) or not entry.accepted:
            return None
        manifest = self.evidence.document(Manifest, key)
        if manifest:
            for name in ("client", "update_digest", "num_examples", "slice_digest", "slice_document", "incoming", "trained"):
                same(keys.commit, f"{name} of {entry.client}", getattr(entry, name), getattr(manifest, name))
            for name in ("run", "round", "base_digest"):
                same(key, name, getattr(manifest, name), getattr(commit, name))
        return manifest

    def _check_stream(self, key: str, document: SliceDoc) -> None:
        if self.stream_check and document.digest not in self.slices_read:
            self.slices_read.add(document.digest)
            self.records += document.records
            if what := self.stream_check(document):
                self.evidence.problem(key, what)

    def _check_measurement(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys, manifests: list[Manifest]) -> None:
        same = self.evidence.same
        if record.spec.federated_evaluation:
            incoming = [manifest.incoming for manifest in manifests if manifest.incoming]
            same(keys.commit, "metrics", commit.metrics, combine(incoming) if incoming else None)
        measured = _model_round(before) if record.spec.federated_evaluation else keys.round
        same(keys.commit, "measured_round", commit.measured_round, measured if commit.metrics else None)
        history = [value for _, value in measurements([*before, commit], record.spec.target_metric)]
        same(keys.commit, "decision", commit.decision, decide(record.spec, history) if commit.metrics else before[-1].decision)
        versions = {manifest.code_version for manifest in manifests} | {__version__, *(other.code_version for other in before)}
        if commit.code_version not in versions:
            self.evidence.problem(keys.commit, f"code_version is {commit.code_version!r}, but its updates are of {', '.join(sorted(versions))}")

    def _check_aggregation(self, record: RunRecord, before: list[Commit], commit: Commit, keys: RoundKeys) -> None:
        """Make the round's global model again, unless what it was made of is damaged."""
        evidence, base = self.evidence, self.keys.at(_model_round(before))
        accepted = [(e.num_examples, keys.update(e.client, e.update_digest or ""), e.update_digest or "") for e in commit.clients if e.accepted]
        whole = evidence.has_digest(keys.weights, commit.weights_digest)
        if commit.server_state_digest:
            whole &= evidence.has_digest(keys.server_state, commit.server_state_digest)
        if not whole or any(map(evidence.accused, [base.weights, base.server_state, keys.verdicts, *(key for _, key, _ in accepted)])):
            return
        try:
            state = evidence.weights(base.server_state) if before[-1].server_state_digest else {}
            with Downloads(evidence.store) as downloads:
                updates = [(examples, downloads.weights(key, digest)) for examples, key, digest in accepted]
                new, state = get_strategy(record.spec.strategy).aggregate(evidence.weights(base.weights), updates, state)
        except StoreUnavailable:
            raise
        except (FedstreamError, ValueError, KeyError) as error:
            evidence.problem(keys.weights, f"cannot be made again from the round's updates: {error}")
            return
        evidence.same(keys.weights, "digest", commit.weights_digest, sha256_hex(to_bytes(new)))
        evidence.same(keys.commit, "server_state_digest", commit.server_state_digest, sha256_hex(to_bytes(state)) if state else None)


def _model_round(commits: list[Commit]) -> int:
    """Return the last round that made a global model."""
    return max(commit.round for commit in commits if commit.kind != "closing")


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
