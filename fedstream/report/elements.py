"""The parts of a RunView: rounds, clients, the next round and published versions. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedstream.record.commit import ClientEntry, Commit
from fedstream.record.documents import Manifest, Metrics, Refusal, SliceDoc
from fedstream.record.run import MatchedClient
from fedstream.record.summary import Drift


def kind_name(kind: str, restores: int | None = None) -> str:
    """Return the name of a commit's kind."""
    if kind == "rollback":
        return f"rollback to {restores}"
    return "closing pass" if kind == "closing" else kind


def _shown(figure: float | str) -> str:
    if isinstance(figure, float):
        return f"{figure:.4g}"
    return f"{figure[:12]}…" if re.fullmatch("[0-9a-f]{64}", figure) else figure


@dataclass(frozen=True)
class RoundView:
    """One committed round.

    Attributes:
        commit: The commit on record.
        digest: SHA-256 of the commit's bytes.
        metrics: Metrics of the round's own global model; with federated evaluation, the next commit contains them.
        measured_in: Round whose commit contains those metrics.
        ended: Time at which the commit was written.
        seconds: Whole seconds from the selection of the clients to the commit, on the store's clock; None for round 0.
        counts: Whether the last commit builds on it; False for a round that was undone by a rollback.
        behind: Number of training rounds behind its model, which is the number of a training round.
        sent: Bytes of each accepted update in the store, by client.
    """

    commit: Commit
    digest: str
    metrics: Metrics | None = None
    measured_in: int | None = None
    ended: datetime | None = None
    seconds: float | None = None
    counts: bool = True
    behind: int = 0
    sent: dict[str, int] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return self.commit.round

    @property
    def name(self) -> str:
        """Name of the round; a pass without training is named after its kind."""
        return (
            f"{self.number}: {self.kind}"
            if self.commit.kind in ("closing", "rollback") or self.behind != self.number
            else f"round {self.number}"
        )

    @property
    def kind(self) -> str:
        """Kind of the round, with the number of a training round if it differs from the number of the pass."""
        kind = kind_name(self.commit.kind, self.commit.restores)
        which = f" round {self.behind}" if kind == "training" and self.behind != self.number else ""
        return f"{kind}{which}{'' if self.counts else ', undone'}"

    @property
    def accepted(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if entry.accepted]

    @property
    def refused(self) -> list[ClientEntry]:
        return [entry for entry in self.commit.clients if not entry.accepted]

    @property
    def figures(self) -> str:
        """What the commit says of the round's aggregation; empty where it says nothing. Digests are shortened."""
        return "; ".join(f"{name} {_shown(value)}" for name, value in self.commit.figures.items())

    @property
    def records(self) -> int:
        """Number of records trained on in accepted updates; 0 in a pass without training."""
        return sum(entry.num_examples for entry in self.accepted) if self.commit.kind == "training" else 0


@dataclass(frozen=True)
class ClientView:
    """One client over all rounds.

    Attributes:
        matched: The announcements of the client.
        rounds: (round, kind, entry) of each committed round in which it was asked.
        slice: Its newest slice; None if there is none.
        manifest: Its newest manifest; None if there is none.
        alone: Metrics of the initial model trained on this client's records alone; None if there are none.
        dropped: Rounds that were undone by a rollback.
        drifts: In a live run, how far the slice of each round is from the first one.
    """

    matched: MatchedClient
    rounds: list[tuple[int, str, ClientEntry]]
    slice: SliceDoc | None = None
    manifest: Manifest | None = None
    alone: Metrics | None = None
    dropped: frozenset[int] = frozenset()
    drifts: dict[int, Drift] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.matched.client

    def other_names(self, features: list[str], classes: list[str]) -> str:
        """Return how the client's own names differ from those of the run; empty if they do not."""
        said = []
        if self.matched.features and self.matched.features != features:
            same = sorted(self.matched.features) == sorted(features)
            said.append(
                "announced its features in a different order"
                if same
                else f"announced different features: {', '.join(self.matched.features[:20])}"
            )
        if self.matched.classes and self.matched.classes != classes:
            same = sorted(self.matched.classes) == sorted(classes)
            said.append(
                "numbers its classes in a different order"
                if same
                else f"announced these classes: {', '.join(self.matched.classes[:20])}"
            )
        return "; ".join(said)

    @property
    def trained(self) -> list[tuple[int, ClientEntry]]:
        """(round, entry) of each update that counts."""
        return [
            (number, entry)
            for number, kind, entry in self.rounds
            if kind == "training" and entry.accepted and number not in self.dropped
        ]

    @property
    def refused(self) -> list[tuple[int, ClientEntry]]:
        return [(number, entry) for number, _, entry in self.rounds if not entry.accepted]

    @property
    def received(self) -> tuple[int, Metrics] | None:
        """(round, metrics) of the last global model it received, on its held-out records."""
        measured = [
            (number, entry.incoming)
            for number, _, entry in self.rounds
            if entry.accepted and number not in self.dropped
        ]
        return next(((number, metrics) for number, metrics in reversed(measured) if metrics), None)

    @property
    def examples(self) -> int:
        """Number of records trained on in all accepted updates; a record counts once for each round."""
        return sum(entry.num_examples for _, entry in self.trained)

    def curve(self, which: Literal["incoming", "trained"], metric: str) -> list[tuple[int, float]]:
        """Return (round, value) of the model that it received (`incoming`) or trained, on its held-out records."""
        measured = [
            (number, getattr(entry, which))
            for number, _, entry in self.rounds
            if entry.accepted and number not in self.dropped
        ]
        return [
            (number, metrics.values[metric]) for number, metrics in measured if metrics and metric in metrics.values
        ]


@dataclass(frozen=True)
class Pending:
    """The next round and its progress.

    Attributes:
        round: Number of the round.
        kind: `training`, or `closing` if the clients only evaluate.
        asked: Clients that were asked; empty before the round is opened.
        arrived: Clients whose update or evaluation is in the store.
        refusals: Newest refusal of each client that has not delivered.
        idle: Why the newest submission ended without opening the round; empty if it did open it.
    """

    round: int
    kind: str
    asked: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    idle: str = ""


@dataclass(frozen=True)
class Version:
    """A version of the model that was published from this run."""

    number: int
    round: int
    manifest_digest: str
