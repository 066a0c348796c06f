"""What a RunView is made of: a round, a client, the round that comes next, a published version. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedstream.record.documents import ClientEntry, Commit, Manifest, Metrics, Refusal, SliceDoc
from fedstream.record.run import MatchedClient


def kind_name(kind: str, restores: int | None = None) -> str:
    """Return the words for a commit's kind: only training rounds are called so."""
    if kind == "rollback":
        return f"rollback to {restores}"
    return "closing pass" if kind == "closing" else kind


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
        counts: whether the last commit builds on it; false for a round that a rollback took back.
        behind: rounds of training behind its model, which is what a round of training is called by.
    """

    commit: Commit
    digest: str
    metrics: Metrics | None = None
    measured_in: int | None = None
    ended: datetime | None = None
    seconds: float | None = None
    counts: bool = True
    behind: int = 0

    @property
    def number(self) -> int:
        return self.commit.round

    @property
    def name(self) -> str:
        """What it is called: a round only where something was trained."""
        return f"{self.number}: {self.kind}" if self.commit.kind in ("closing", "rollback") or self.behind != self.number else f"round {self.number}"

    @property
    def kind(self) -> str:
        """What the round is, in words; a round of training says which one it is where passes of other kinds went before it."""
        kind = kind_name(self.commit.kind, self.commit.restores)
        which = f" round {self.behind}" if kind == "training" and self.behind != self.number else ""
        return f"{kind}{which}{'' if self.counts else ', taken back'}"

    @property
    def accepted(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if entry.accepted]

    @property
    def refused(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if not entry.accepted]

    @property
    def figures(self) -> str:
        """What the strategy says of the round's aggregation; empty where it says nothing."""
        return "; ".join(f"{name} {value if isinstance(value, str) else format(value, '.4g')}" for name, value in self.commit.figures.items())

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
        alone: what the initial model scored when it was trained on this client's records alone, or none.
        dropped: rounds that a rollback took back.
    """

    matched: MatchedClient
    rounds: list[tuple[int, str, ClientEntry]]
    slice: SliceDoc | None = None
    manifest: Manifest | None = None
    alone: Metrics | None = None
    dropped: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        return self.matched.client

    def other_names(self, features: list[str], classes: list[str]) -> str:
        """Say in which way its own names differ from those of the run; empty where they don't, or none were announced."""
        said = []
        if self.matched.features and self.matched.features != features:
            same = sorted(self.matched.features) == sorted(features)
            said.append("announced its features in another order" if same else f"announced other features: {', '.join(self.matched.features[:20])}")
        if self.matched.classes and self.matched.classes != classes:
            same = sorted(self.matched.classes) == sorted(classes)
            said.append("numbers its classes in another order" if same else f"announced these classes: {', '.join(self.matched.classes[:20])}")
        return "; ".join(said)

    @property
    def trained(self) -> list[tuple[int, ClientEntry]]:
        """(round, entry) of each update that counts."""
        return [(number, entry) for number, kind, entry in self.rounds if kind == "training" and entry.accepted and number not in self.dropped]

    @property
    def refused(self) -> list[tuple[int, ClientEntry]]:
        return [(number, entry) for number, _, entry in self.rounds if not entry.accepted]

    @property
    def received(self) -> tuple[int, Metrics] | None:
        """(round, metrics) of the last global model it received, on its held-out records."""
        measured = [(number, entry.incoming) for number, _, entry in self.rounds if entry.accepted and number not in self.dropped]
        return next(((number, metrics) for number, metrics in reversed(measured) if metrics), None)

    @property
    def examples(self) -> int:
        """Records trained on in all accepted updates; a record counts once for each round."""
        return sum(entry.num_examples for _, entry in self.trained)

    def curve(self, which: Literal["incoming", "trained"], metric: str) -> list[tuple[int, float]]:
        """Return (round, value) of the model it received (`incoming`) or trained, on its held-out records."""
        measured = [(number, getattr(entry, which)) for number, _, entry in self.rounds if entry.accepted and number not in self.dropped]
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
