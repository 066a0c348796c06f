"""What a RunView is made of: a round, a client, the round that comes next, a published version. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedstream.run import MatchedClient
from fedstream.store.documents import ClientEntry, Commit, Manifest, Metrics, Refusal, SliceDoc


@dataclass(frozen=True)
class RoundView:
    """One committed round.

    Attributes:
        commit: what is on record.
        digest: SHA-256 of the commit's bytes.
        metrics: of the round's own global model; under federated evaluation it is the next commit that holds them.
        measured_in: round whose commit holds those metrics.
        ended: when the commit was written.
        seconds: from the selection of the clients to the commit, on the store's clock (whole seconds); absent for round 0.
    """

    commit: Commit
    digest: str
    metrics: Metrics | None = None
    measured_in: int | None = None
    ended: datetime | None = None
    seconds: float | None = None

    @property
    def number(self) -> int:
        return self.commit.round

    @property
    def accepted(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if entry.accepted]

    @property
    def refused(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if not entry.accepted]

    @property
    def records(self) -> int:
        """Records trained on in accepted updates; 0 in a round that trains nothing."""
        return sum(entry.num_examples for entry in self.accepted) if self.commit.kind == "training" else 0


@dataclass(frozen=True)
class ClientView:
    """One client over all rounds.

    Attributes:
        matched: what it announced.
        rounds: (round, kind, entry) of each committed round it was asked in.
        slice: its newest slice; absent when none was ever written.
        manifest: its newest manifest, or none.
    """

    matched: MatchedClient
    rounds: list[tuple[int, str, ClientEntry]]
    slice: SliceDoc | None = None
    manifest: Manifest | None = None

    @property
    def name(self) -> str:
        return self.matched.client

    @property
    def trained(self) -> list[tuple[int, ClientEntry]]:
        """(round, entry) of each update that counts."""
        return [(number, entry) for number, kind, entry in self.rounds if kind == "training" and entry.accepted]

    @property
    def refused(self) -> list[tuple[int, ClientEntry]]:
        return [(number, entry) for number, _, entry in self.rounds if not entry.accepted]

    @property
    def examples(self) -> int:
        """Records trained on in all accepted updates; a record counts once for each round."""
        return sum(entry.num_examples for _, entry in self.trained)

    def curve(self, which: Literal["incoming", "trained"], metric: str) -> list[tuple[int, float]]:
        """Return (round, value) of the model it received (`incoming`) or trained, on its held-out records."""
        measured = [(number, getattr(entry, which)) for number, _, entry in self.rounds if entry.accepted]
        return [(number, metrics.values[metric]) for number, metrics in measured if metrics and metric in metrics.values]


@dataclass(frozen=True)
class Pending:
    """The round that comes next, as far as it got.

    Attributes:
        round: its number.
        kind: `training`, or `closing` where the clients only measure.
        asked: clients asked; empty before it is opened.
        arrived: clients whose update or measurement is in the store.
        refusals: newest refusal of each client that has not arrived.
    """

    round: int
    kind: str
    asked: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Version:
    """A published version of the model that came out of this run."""

    number: int
    round: int
    manifest_digest: str
