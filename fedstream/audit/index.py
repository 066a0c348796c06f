"""The index of a run for `fedstream trace`: read it, check it against the ledger, and make it from the ledger again.

Anyone who can write to the bucket can write an index that leaves rounds out, so an index is never the only witness: a
few commits, chosen at random, are compared with it whenever it is used, and `verify` compares all of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from fedstream.audit.evidence import Evidence, Link
from fedstream.errors import CorruptObject, ObjectNotFound
from fedstream.record.canonical import canonical_json
from fedstream.record.commit import Commit
from fedstream.record.layout import RunKeys
from fedstream.record.provenance import RunIndex, empty_index, extended, updates_in
from fedstream.record.reading import DOCUMENT_BYTES, read_document
from fedstream.store.ledger import Ledger
from fedstream.store.store import Store

COMPARED = 8
"""Commits that are compared with the indexes for an answer, in addition to the last one of each run.

They are chosen at random, so an index that leaves out a tenth of a run's rounds is found by 57 % of the questions about
this run. Of each run, one is compared at least.
"""

ANEW = "`fedstream trace --index` makes it again from the commits"


@dataclass(frozen=True)
class Indexed:
    """What the ledger says of the updates of a run.

    Attributes:
        index: The index, up to the last commit.
        commits_read: Number of commits that were read for it.
        problem: What is wrong with the index in the store; empty if it was used, or if there is none.
    """

    index: RunIndex
    commits_read: int
    problem: str = ""


def read_index(store: Store, run: str, compared: int = COMPARED) -> Indexed:
    """Return the index in the store with all newer commits, or one made from the ledger alone.

    Args:
        store: The bucket.
        run: Name of the run.
        compared: Number of commits to compare the index with, in addition to the last one.

    Raises:
        CorruptObject: A commit cannot be read.
    """
    ledger, problem = Ledger(store, run), ""
    index = empty_index(run)
    try:
        stored = _stored(store, run)
    except CorruptObject as error:
        stored, problem = None, f"{error}; {ANEW}"
    if stored and (wrong := _why_wrong(stored, ledger, compared)):
        problem = f"{RunKeys(run).trace} was not used, because {wrong}; {ANEW}"
    elif stored:
        index = stored
    return Indexed(_continued(index, ledger), ledger.read, problem)


def rebuild_index(store: Store, run: str) -> Indexed:
    """Make the index of a run from all its commits, and write it into the store.

    Raises:
        CorruptObject: A commit cannot be read.
        StoreUnavailable: The index cannot be written.
    """
    ledger, key = Ledger(store, run), RunKeys(run).trace
    index = _continued(empty_index(run), ledger)
    data = canonical_json(index.model_dump(mode="json"))
    if len(data) > DOCUMENT_BYTES:
        what = f"the index of run {run!r} has {len(data):,} bytes and is not written, because at most "
        return Indexed(index, ledger.read, f"{what}{DOCUMENT_BYTES:,} are read; the run is traced from its commits")
    try:
        there, etag = store.get_with_etag(key, DOCUMENT_BYTES)
    except ObjectNotFound:
        there, etag = b"", None
    if there != data:
        store.put_if_match(key, data, etag)  # if another process was faster, its index is as good
    return Indexed(index, ledger.read)


def check_index(evidence: Evidence, index: RunIndex | None, commits: list[Commit], chain: list[Link]) -> None:
    """Report an index that differs from what the commits of its run say.

    Args:
        evidence: Collects the problems.
        index: The index, which was read before the commits; None if there is none, or if it cannot be read.
        commits: The readable commits of the run.
        chain: The run's spec and these commits.
    """
    if index is None or evidence.accused(*(link.key for link in chain)):
        return
    key = RunKeys(index.run).trace
    if len(index.commits) > len(commits):
        evidence.problem(
            key, f"knows {len(index.commits)} commits, but the run has {len(commits)}: commits were removed since then"
        )
        return
    known = [(commit, link.digest or "") for commit, link in zip(commits, chain[1:], strict=True)]
    if index != extended(empty_index(index.run), known[: len(index.commits)]):
        evidence.problem(key, f"differs from the commits of the run; {ANEW}")


def _stored(store: Store, run: str) -> RunIndex | None:
    key = RunKeys(run).trace
    try:
        index = read_document(RunIndex, store.get(key, DOCUMENT_BYTES), key)
    except ObjectNotFound:
        return None
    if index.run != run:
        raise CorruptObject(f"{key} is the index of run {index.run!r}")
    return index


def _why_wrong(index: RunIndex, ledger: Ledger, compared: int) -> str:
    """Return how an index differs from some commits: the last one, and others chosen at random."""
    last = len(index.commits) - 1
    chance = random.SystemRandom()
    rounds = {last, *chance.sample(range(last + 1), min(compared, last + 1))} if index.commits else set()
    said = index.updates_of(rounds)
    for round in sorted(rounds):
        try:
            commit = ledger.commit(round)
        except ObjectNotFound:
            return f"it knows round {round}, which is not committed"
        indexed = index.commits[round]
        if (indexed.digest, indexed.kind, indexed.restores) != (ledger.digest(round), commit.kind, commit.restores):
            return f"it knows another commit of round {round}"
        if said[round] != updates_in(commit):
            return f"it differs from the commit of round {round}"
    return ""


def _continued(index: RunIndex, ledger: Ledger) -> RunIndex:
    """Return an index with the commits that came after it."""
    newer: list[tuple[Commit, str]] = []
    try:
        while True:
            round = len(index.commits) + len(newer)
            newer.append((ledger.commit(round), ledger.digest(round)))
    except ObjectNotFound:
        return extended(index, newer) if newer else index
