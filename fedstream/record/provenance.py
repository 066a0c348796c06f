"""What the commits of a run say of the records that its updates were trained on, in a form that is quick to search.

Pure. The index is a function of the commits alone, so it can be made again at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import model_validator

from fedstream.record.commit import Commit
from fedstream.record.document import Count, Digest, Document, Word
from fedstream.record.documents import SliceRange


class UsedSlice(NamedTuple):
    """A slice of a client.

    Attributes:
        client: name of the client.
        document: SHA-256 of the slice's document; None in a run of an earlier version, which did not record it.
        ranges: (topic, partition, start, end) of its ranges.
    """

    client: str
    document: str | None
    ranges: tuple[tuple[str, int, int, int], ...]


class IndexedCommit(Document):
    """A commit: the SHA-256 of its bytes, and what decides which commits build on it."""

    digest: Digest
    kind: Literal["initial", "training", "closing", "rollback"]
    restores: Count | None = None


class IndexedSlice(Document):
    """A slice, and the accepted updates that were trained on it.

    Attributes:
        updates: (round, digest of the update), in the order of the rounds.
    """

    client: Word
    document: Digest | None
    ranges: list[SliceRange]
    updates: list[tuple[Count, Digest]]

    @property
    def slice(self) -> UsedSlice:
        return UsedSlice(self.client, self.document, _plain(self.ranges))


class RunIndex(Document):
    """traces/<run>.json: which accepted updates of a run were trained on which slices.

    Attributes:
        commits: all commits from round 0 on; the last one says up to where the index goes.
        slices: sorted by client and round.
    """

    run: Word
    commits: list[IndexedCommit]
    slices: list[IndexedSlice]

    @model_validator(mode="after")
    def _rounds_fit(self) -> RunIndex:
        if any(c.restores is not None and c.restores >= round for round, c in enumerate(self.commits)):
            raise ValueError("a rollback restores a round that comes after it")
        if any(round >= len(self.commits) for used in self.slices for round, _ in used.updates):
            raise ValueError(f"an update is of a round that is not among its {len(self.commits)} commits")
        return self

    def updates_of(self, rounds: set[int]) -> dict[int, set[tuple[UsedSlice, str]]]:
        """Return what the index says of some rounds: the slices and the digests of their accepted updates."""
        found: dict[int, set[tuple[UsedSlice, str]]] = {round: set() for round in rounds}
        for used in self.slices:
            for round, digest in used.updates:
                if round in rounds:
                    found[round].add((used.slice, digest))
        return found

    def behind(self, round: int) -> list[int]:
        """Return the rounds that a round's model builds on, the newest first, beginning with the round itself."""
        found = [round]
        while round > 0:
            restores = self.commits[round].restores
            round = round - 1 if restores is None else restores
            found.append(round)
        return found


def empty_index(run: str) -> RunIndex:
    """Return the index of a run without commits."""
    return RunIndex(run=run, commits=[], slices=[])


def extended(index: RunIndex, commits: Sequence[tuple[Commit, str]]) -> RunIndex:
    """Return an index with further commits, each with the SHA-256 of its bytes.

    The result does not depend on how many commits were added at once.
    """
    updates: dict[UsedSlice, list[tuple[int, str]]] = defaultdict(list)
    for used in index.slices:
        updates[used.slice] += used.updates
    for commit, _ in commits:
        for slice, digest in sorted(updates_in(commit), key=lambda pair: pair[0].client):
            updates[slice].append((commit.round, digest))
    slices = [
        IndexedSlice(
            client=slice.client,
            document=slice.document,
            ranges=[SliceRange(topic=t, partition=p, start=s, end=e) for t, p, s, e in slice.ranges],
            updates=of,
        )
        for slice, of in sorted(updates.items(), key=lambda item: (item[0].client, item[1], item[0].ranges))
    ]
    added = [IndexedCommit(digest=digest, kind=commit.kind, restores=commit.restores) for commit, digest in commits]
    return RunIndex(run=index.run, commits=[*index.commits, *added], slices=slices)


def updates_in(commit: Commit) -> set[tuple[UsedSlice, str]]:
    """Return the slices that a round's accepted updates were trained on, each with the digest of the update.

    Clients only measure in a closing round, so it has no updates.
    """
    return {
        (UsedSlice(entry.client, entry.slice_document, _plain(entry.ranges)), entry.update_digest)
        for entry in commit.clients
        if commit.kind == "training" and entry.accepted and entry.update_digest
    }


def _plain(ranges: Sequence[SliceRange]) -> tuple[tuple[str, int, int, int], ...]:
    return tuple((r.topic, r.partition, r.start, r.end) for r in ranges)
