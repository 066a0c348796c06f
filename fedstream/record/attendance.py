"""Which clients were meant to take part in a run, which did, and why others did not. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fedstream.record.commit import Commit
from fedstream.record.decision import lineage, rounds_behind
from fedstream.record.names import NAME
from fedstream.record.run import RunRecord
from fedstream.text import count, one_line, spans


@dataclass(frozen=True)
class Absence:
    """A client that did not take part, for one reason.

    Attributes:
        client: name of the client.
        rounds: training rounds, numbered as `--rounds` counts them, in which the client was asked but did not take
            part.
        closing_passes: number of closing passes in which the client was asked but did not measure.
        reason: the reason, in the words of the refusal.
    """

    client: str
    rounds: list[int]
    closing_passes: int
    reason: str

    @property
    def when(self) -> str:
        """The rounds and closing passes in words; empty for a client that was refused when the run was planned."""
        said = [f"round{'s' if len(self.rounds) > 1 else ''} {spans(self.rounds)}"] if self.rounds else []
        if self.closing_passes:
            said.append("a closing pass" if self.closing_passes == 1 else f"{self.closing_passes} closing passes")
        return f"in {' and '.join(said)}" if said else ""

    def __str__(self) -> str:
        return one_line(f"{self.client} did not take part {self.when or 'at all'}: {self.reason}")


@dataclass(frozen=True)
class Attendance:
    """Which clients took part in a run, and with how many records.

    Attributes:
        meant: clients that were asked, or that announced a stream for the run and were refused.
        took_part: clients whose updates are in the global model.
        records: distinct records in these updates; a record that is used in several rounds counts once.
        announced: records that the matched clients announced, including held-out records; 0 in a live run, whose
            streams grow.
        absent: clients that did not take part, sorted by client and first round.
    """

    meant: int
    took_part: int
    records: int
    announced: int
    absent: list[Absence]

    @property
    def degraded(self) -> bool:
        """Whether any client is missing."""
        return bool(self.absent)

    @property
    def summary(self) -> str:
        """How many clients took part, such as `with 1 of 2 clients`."""
        if self.took_part < self.meant:
            return f"with {self.took_part} of {count(self.meant, 'client')}"
        return f"with {count(self.meant, 'client')}{', not all of them in every round' if self.absent else ''}"


def attendance(record: RunRecord, commits: Sequence[Commit]) -> Attendance:
    """Return which clients took part. Rounds that a rollback reverted do not count.

    Args:
        record: the run's spec.json.
        commits: commits of the run, from round 0 on.
    """
    kept, behind = lineage(commits), rounds_behind(commits)
    asked = {entry.client for commit in kept for entry in commit.clients}
    trained: dict[tuple[str, str | None], int] = {}
    for commit in kept:
        for entry in commit.clients:
            if commit.kind == "training" and entry.accepted:
                trained[entry.client, entry.slice_digest] = entry.num_examples
    absent = [*_refused_when_planned(record), *_missing(kept, behind)]
    return Attendance(
        meant=len(asked | {absence.client for absence in absent}),
        took_part=len({client for client, _ in trained}),
        records=sum(trained.values()),
        announced=0 if record.spec.feed.live else sum(client.records for client in record.clients),
        absent=sorted(absent, key=lambda absence: (absence.client, absence.rounds)),
    )


def _refused_when_planned(record: RunRecord) -> list[Absence]:
    """Return the clients whose announcements were meant for the run, but were all refused.

    The reason is that of the newest announcement.
    """
    known = {client.client for client in record.clients} | ({record.evaluation.client} if record.evaluation else set())
    named = dict.fromkeys(
        [*record.spec.clients, *record.spec.sites], "no announcement of it was found when the run was planned"
    )
    told = {
        row.client: row.reason
        for row in record.announcements
        if row.related and not row.accepted and re.fullmatch(NAME, row.client)
    }
    return [Absence(client, [], 0, reason) for client, reason in (named | told).items() if client not in known]


def _missing(kept: Sequence[Commit], behind: dict[int, int]) -> list[Absence]:
    """Return the clients that were asked but did not take part, by client and reason.

    `behind` maps commits to the numbers of training rounds.
    """
    rounds: dict[tuple[str, str], list[int]] = {}
    closing: Counter[tuple[str, str]] = Counter()
    for commit in kept:
        for entry in commit.clients:
            if not entry.accepted:
                missed = rounds.setdefault((entry.client, entry.reason), [])
                if commit.kind == "training":
                    missed.append(behind[commit.round])
                else:
                    closing[entry.client, entry.reason] += 1
    return [Absence(client, numbers, closing[client, reason], reason) for (client, reason), numbers in rounds.items()]
