"""The ledger: the hash chain of a run's commits. The highest commit alone is the state of a run."""

from __future__ import annotations

from fedstream.errors import CorruptObject, ObjectConflict, ObjectNotFound, RunError
from fedstream.record.canonical import sha256_hex
from fedstream.record.commit import Commit
from fedstream.record.layout import RunKeys
from fedstream.record.reading import DOCUMENT_BYTES, read_document
from fedstream.store.store import Store


class Ledger:
    """The commits of one run. Commits never change, so the ledger caches those that it has read.

    Args:
        store: the bucket.
        run: name of the run.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._keys = RunKeys(run)
        self._read: dict[int, tuple[Commit, str]] = {}

    @property
    def read(self) -> int:
        """Number of commits that were read so far."""
        return len(self._read)

    def commits(self) -> list[Commit]:
        """Return all commits from round 0 on; empty before the run is planned."""
        found: list[Commit] = []
        try:
            while True:
                found.append(self.commit(len(found)))
        except ObjectNotFound:
            return found

    def head(self) -> Commit | None:
        """Return the highest commit, if there is one."""
        commits = self.commits()
        return commits[-1] if commits else None

    def commit(self, round: int) -> Commit:
        """Return one commit.

        Raises:
            ObjectNotFound: the round is not committed.
            CorruptObject: the commit cannot be read.
        """
        if round not in self._read:
            key = self._keys.at(round).commit
            data = self._store.get(key, DOCUMENT_BYTES)
            commit = read_document(Commit, data, key)
            if (commit.run, commit.round) != (self._keys.run, round):
                raise CorruptObject(
                    f"{key} is the commit of round {commit.round} of run {commit.run!r}; "
                    f"see `fedstream verify {self._keys.run}`"
                )
            self._read[round] = commit, sha256_hex(data)
        return self._read[round][0]

    def model_round(self, round: int) -> int:
        """Return the round that made a round's final global model; closing rounds and rollbacks make no model."""
        while (commit := self.commit(round)).kind in ("closing", "rollback"):
            round = round - 1 if commit.restores is None else commit.restores
        return round

    def digest(self, round: int) -> str:
        """Return the SHA-256 of a commit's bytes."""
        self.commit(round)
        return self._read[round][1]

    def append(self, commit: Commit) -> Commit:
        """Write a commit, and return the commit on record.

        If two submissions race, one wins and both continue from its commit.

        Raises:
            RunError: the commit on record has another parent, so the chain would fork.
        """
        try:
            self._store.put_new_json(self._keys.at(commit.round).commit, commit.model_dump(mode="json"))
        except ObjectConflict:
            if self.commit(commit.round).parent != commit.parent:
                raise RunError(
                    f"round {commit.round} of run {commit.run!r} is on record with another parent; "
                    f"run `fedstream verify {commit.run}`"
                ) from None
        return self.commit(commit.round)
