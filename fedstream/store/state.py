"""The record of a run in the store, which is its entire state. Every step and the report start from it."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pydantic import BaseModel

from fedstream.errors import CorruptObject, ObjectNotFound, RunError, SpecError
from fedstream.privacy.accounting import why_exhausted
from fedstream.record.canonical import canonical_json, sha256_hex
from fedstream.record.commit import Commit
from fedstream.record.decision import lineage, trained_rounds
from fedstream.record.documents import Manifest, Selection, SliceDoc, Submission, Verdicts
from fedstream.record.layout import RUNS, RoundKeys, RunKeys
from fedstream.record.names import NAME, check_name
from fedstream.record.reading import DOCUMENT_BYTES, Document, read_document
from fedstream.record.run import RunRecord
from fedstream.record.spec import RunSpec, carried_out
from fedstream.store.kept import Kept
from fedstream.store.ledger import Ledger
from fedstream.store.loading import load_document
from fedstream.store.store import Store

log = logging.getLogger("fedstream.run")

Kind = Literal["training", "closing"]

KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of documents that are kept of a run: the slices and manifests of some thousand clients."""

PARSED = 4_000
"""Documents that are kept as objects, since the steps of a round need each of them several times."""


@dataclass(frozen=True)
class RunState:
    """One run, as recorded in the store.

    Attributes:
        store: the bucket.
        run: name of the run.

    Raises:
        UsageError: the name is not valid for a run.
    """

    store: Store
    run: str
    _read_once: Kept[bytes] = field(default_factory=lambda: Kept(KEPT_BYTES, len), repr=False, compare=False)
    _parsed: Kept[BaseModel] = field(default_factory=lambda: Kept(PARSED, lambda _: 1), repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name("run", self.run)

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.run)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.store, self.run)

    @cached_property
    def record(self) -> RunRecord:
        """The run's spec.json.

        Raises:
            RunError: the run was never planned.
        """
        try:
            return self.read(RunRecord, self.keys.spec)
        except ObjectNotFound as error:
            raise RunError(
                f"there is no run {self.run!r} in this bucket; "
                f"start it with `fedstream run --name {self.run}` or submit it"
            ) from error

    @cached_property
    def submissions(self) -> list[Submission]:
        """The changes that later submissions made, oldest first.

        They are read one after another, because the key of a client cannot list objects.
        """
        found: list[Submission] = []
        with suppress(ObjectNotFound):
            while True:
                found.append(self.read(Submission, self.keys.submission(len(found) + 1)))
        return found

    @cached_property
    def spec(self) -> RunSpec:
        """The run's spec with the operational values of its newest submission.

        Raises:
            CorruptObject: the values of that submission do not fit the run.
        """
        if not self.submissions:
            return self.record.spec
        try:
            return carried_out(self.record.spec, self.submissions[-1].values)
        except SpecError as error:
            raise CorruptObject(
                f"{self.keys.submission(len(self.submissions))} does not fit the run: {error}; "
                f"run `fedstream verify {self.run}`"
            ) from error

    def forget_submissions(self) -> None:
        """Read the submissions again when they are asked for next, because one was added."""
        for name in ("submissions", "spec"):
            self.__dict__.pop(name, None)

    def selection(self, round: int) -> Selection:
        return self._document(Selection, self.keys.at(round).selection)

    def verdicts(self, round: int) -> Verdicts:
        return self._document(Verdicts, self.keys.at(round).verdicts)

    def slice(self, round: int, client: str) -> SliceDoc | None:
        try:
            return self._document(SliceDoc, self.keys.at(round).slice(client))
        except ObjectNotFound:
            return None

    def slice_digest(self, round: int, client: str) -> str:
        """Return the SHA-256 of a slice's stored bytes, since another version can write the slice with more fields.

        Raises:
            ObjectNotFound: there is no such slice.
        """
        return sha256_hex(self._once(self.keys.at(round).slice(client)))

    def finished(self, round: int, client: str) -> bool:
        """Tell whether a client has finished its work in a round."""
        return self.store.exists(self.keys.at(round).manifest(client))

    def manifest(self, round: int, client: str) -> Manifest:
        return self._document(Manifest, self.keys.at(round).manifest(client))

    def manifest_digest(self, round: int, client: str) -> str:
        """Return the SHA-256 of a manifest's bytes, whatever they are and however many.

        Raises:
            ObjectNotFound: it is not there.
        """
        key = self.keys.at(round).manifest(client)
        try:
            return sha256_hex(self._once(key))
        except CorruptObject:  # larger than any manifest, so it is not held in memory
            return self.store.digest(key)

    def base(self, round: int) -> Commit:
        """Return the commit that a round builds on."""
        return self.ledger.commit(round - 1)

    def base_keys(self, round: int) -> RoundKeys:
        """Return the keys of the global model and the server state that a round builds on."""
        return self.keys.at(self.ledger.model_round(round - 1))

    def next_round(self, rounds: int) -> tuple[int, Kind] | None:
        """Return the number and kind of the round to run next, or None when the run is finished.

        Federated evaluation measures each model one round later, so such a run ends with a closing round, which only
        measures.

        Args:
            rounds: total number of training rounds.

        Raises:
            RunError: the run was never planned, or its planning did not finish.
        """
        commits = lineage(self.ledger.commits())
        if not commits:
            planned = self.record.spec.run  # raises RunError if there is no such run
            raise RunError(
                f"run {planned!r} has no initial model yet, because plan_training did not finish; submit the run again"
            )
        head = commits[-1]
        left = self.record.spec.indefinite or trained_rounds(commits) < rounds
        wanted = head.decision.action != "stop" and left
        if wanted and not why_exhausted(self.record, self.ledger.commits()):
            return head.round + 1, "training"
        return (head.round + 1, "closing") if self.unmeasured() else None

    def unmeasured(self) -> bool:
        """Tell whether a closing round has to measure the last trained model.

        That is so under federated evaluation if no round has measured it or asked the clients to measure it. After a
        rollback, an earlier round can have measured it.
        """
        commits = lineage(self.ledger.commits())
        if not self.record.spec.federated_evaluation:
            return False
        model, head = self.ledger.model_round(commits[-1].round), commits[-1]
        measured = any(commit.measured_round == model and commit.metrics for commit in self.ledger.commits())
        return head.kind != "closing" and self.ledger.commit(model).kind == "training" and not measured

    def _once(self, key: str) -> bytes:
        """Return the bytes of a write-once document.

        They are read only once, so that all steps of a process judge the same bytes.
        """
        return self._read_once.get(key, lambda: self.store.get(key, DOCUMENT_BYTES))

    def _document(self, kind: type[Document], key: str) -> Document:
        """Return a write-once document, parsed only once as well."""
        document = self._parsed.get(key, lambda: read_document(kind, self._once(key), key))
        assert isinstance(document, kind)
        return document

    def put_new(self, key: str, document: BaseModel) -> None:
        """Write a document once, and keep it, so that it need not be read again.

        Raises:
            ObjectConflict: there is another one.
        """
        data = canonical_json(document.model_dump(mode="json"))
        self.store.put_new(key, data)
        self._read_once.put(key, data)
        self._parsed.put(key, document)

    def read(self, document: type[Document], key: str) -> Document:
        """Return one of the run's documents.

        Raises:
            ObjectNotFound: there is no such document.
            CorruptObject: the document cannot be read.
        """
        return load_document(document, self.store, key)


def run_names(store: Store) -> list[str]:
    """Return the names of the runs in a bucket, sorted, without folders whose names are not valid for a run."""
    return [name for name in store.folders(RUNS) if re.fullmatch(NAME, name)]
