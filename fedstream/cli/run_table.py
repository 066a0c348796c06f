"""The table of a run's rounds, made from what the store says now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from fedstream.cli.output import metrics_text
from fedstream.record.commit import Commit
from fedstream.record.decision import lineage, trained_rounds
from fedstream.record.documents import Selection
from fedstream.record.layout import RoundKeys, RunKeys
from fedstream.record.run import RunRecord
from fedstream.store.loading import load_document
from fedstream.store.store import Store
from fedstream.text import duration

SHOWN_ROUNDS = 15
"""Number of rounds in the table, which must fit on a screen."""

STATE_WIDTH = 15
"""Width of the longest state except `stop`, so that the table does not change its width."""

BAR_WIDTH = 24
"""Width of the bar, which leaves room for the measurement and the time on a line of 80 columns."""


class RunTable:
    """What a console shows of a run. It only reads, and works with any runner.

    Args:
        store: The bucket.
        run: Name of the run.
        rounds: Total number of training rounds, from which the remaining time is estimated.
        clock: Seconds that never decrease.
    """

    def __init__(self, store: Store, run: str, rounds: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.run, self.rounds, self.clock = store, run, rounds, clock
        self._record: RunRecord | None = None
        self._commits: dict[int, Commit] = {}
        self._began, self._committed, self._told = clock(), 0.0, 0
        self.update()
        self._known = max(0, len(self._commits) - 1)

    def update(self) -> list[Commit]:
        """Read new commits, and return those not returned before; the initial model's commit is never returned.

        Raises:
            FedstreamError: The store does not work; the commits read by then are returned by the next call.
        """
        if self._record is None:
            if not self.store.exists(key := RunKeys(self.run).spec):
                return []
            self._record = load_document(RunRecord, self.store, key)
        while self.store.exists(key := RoundKeys(self.run, len(self._commits)).commit):
            self._commits[len(self._commits)] = load_document(Commit, self.store, key)
        first, self._told = max(1, self._told), len(self._commits)
        new = [self._commits[round] for round in range(first, self._told)]
        if new:
            self._committed = self.clock()
        return new

    def draw(self, ended: bool = False) -> Table:
        """Draw a row for each pass; metrics that a later pass measured for a round's model are in that round's row.

        Args:
            ended: whether the run has ended, so that nothing is about to start.
        """
        table = Table(title=f"run {self.run}", caption=self.caption(), title_justify="left", caption_justify="left")
        measured: dict[int | None, dict[str, float]] = {}
        for commit in self._commits.values():
            if commit.metrics:
                measured.setdefault(commit.measured_round, commit.metrics.values)
        names = self._metrics(measured.values())
        for column in ("round", "clients", "records", *names):
            table.add_column(escape(column), justify="right", min_width=7, no_wrap=True)
        table.add_column("state", min_width=STATE_WIDTH)
        for number in sorted(self._commits)[-SHOWN_ROUNDS:]:
            commit, values = self._commits[number], measured.get(number, {})
            accepted = [entry for entry in commit.clients if entry.accepted]
            counts = (
                (f"{len(accepted)}/{len(commit.clients)}", f"{sum(e.num_examples for e in accepted):,}")
                if commit.clients
                else ("", "")
            )
            first = self._number(commit.kind, number)
            table.add_row(
                first,
                *counts,
                *(f"{values[name]:.4f}" if name in values else "" for name in names),
                escape(_state(commit)),
            )
        round, clients, state = self._open(ended)
        if state:
            table.add_row(round, clients, "", *("" for _ in names), state)
        return table

    def bar(self, ended: bool = False) -> Table:
        """Draw one line for a run of many short rounds: a bar of the rounds, the newest measurement, and the time.

        Args:
            ended: whether the run has ended.
        """
        done, total = self._trained(len(self._commits)), max(1, self.rounds)
        measured = next((commit.metrics.values for commit in reversed(self._commits.values()) if commit.metrics), {})
        shown = {name: measured[name] for name in self._metrics([measured]) if name in measured}
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._of(done),
            ProgressBar(total, total if ended and self._left() <= 0 else done, width=BAR_WIDTH),
            escape(metrics_text(shown)),
            self.caption(),
        )
        return line

    def _metrics(self, measured: Iterable[dict[str, float]]) -> list[str]:
        """Return the metrics to show: the target metric, then the loss."""
        target = self._record.spec.target_metric if self._record else ""
        known = {name for values in measured for name in values}
        return [name for name in dict.fromkeys((target, "loss")) if name in known or name == target != ""]

    def _open(self, ended: bool) -> tuple[str, str, str]:
        """Return the round that is not committed yet, the number of its clients that are done, and its state."""
        keys = RoundKeys(self.run, len(self._commits))
        if not self._commits:
            return "", "", "planning"
        there = {info.key for info in self.store.list(f"{keys.root}/")}
        if keys.selection not in there:
            return "", "", "" if ended else "publishing" if self._left() <= 0 else "starting"
        selection = load_document(Selection, self.store, keys.selection)
        asked, measures = selection.clients, selection.kind == "closing"
        done = sum(keys.manifest(client) in there for client in asked)
        if done == len(asked):
            state = "evaluating" if measures or keys.weights in there else "aggregating"
        elif any(keys.slice(client) in there for client in asked):
            state = "measuring" if measures else "training"
        else:
            state = "reading streams"
        return self._number(selection.kind, keys.round), f"{done}/{len(asked)}", state

    def _trained(self, number: int) -> int:
        """Return how many training rounds count at a commit, without closing passes and rounds undone by a rollback."""
        return trained_rounds([commit for commit in self._commits.values() if commit.round <= number])

    def _number(self, kind: str, number: int) -> str:
        """Return the name of a pass; training rounds are numbered among themselves, as `--rounds` counts them."""
        if kind == "training":
            return str(self._trained(number - 1) + 1)
        return "0" if kind == "initial" else kind

    def line(self, commit: Commit) -> str:
        """Return one line about a pass, for a console that is no terminal."""
        accepted = [entry for entry in commit.clients if entry.accepted]
        records = sum(entry.num_examples for entry in accepted)
        number = self._number(commit.kind, commit.round)
        name = self._of(number) if commit.kind == "training" else f"{number} pass"
        said = [
            f"{name}: {len(accepted)}/{len(commit.clients)} clients, {records} records",
            self._measured(commit),
            _state(commit),
        ]
        return "; ".join(filter(None, said))

    def _of(self, number: int | str) -> str:
        """Return the name of a training round; only that of an indefinite run is not one of a known number."""
        return f"round {number}" if self._endless else f"round {number} of {self.rounds}"

    @property
    def _endless(self) -> bool:
        return bool(self._record and self._record.spec.indefinite)

    def _measured(self, commit: Commit) -> str:
        if not commit.metrics or commit.measured_round is None:
            return ""
        values = metrics_text(commit.metrics.values)
        if commit.measured_round == commit.round:
            return values
        earlier = self._trained(commit.measured_round)
        return f"{f'round {earlier}' if earlier else 'the initial model'} had {values}"

    def _left(self) -> int:
        """Return the number of remaining rounds; 1 for an indefinite run, which always has another one."""
        if self._endless:
            return 1
        commits = list(self._commits.values())
        stopped = any(commit.decision.action == "stop" for commit in lineage(commits))
        training = 0 if stopped else max(0, self.rounds - trained_rounds(commits))
        closes = bool(self._record and self._record.spec.federated_evaluation)
        closed = not training and bool(commits) and commits[-1].kind == "closing"
        return training + int(closes and not closed)

    def caption(self) -> str:
        """Return the time since the table was made, and an estimate of the time left."""
        now, new = self.clock(), max(0, len(self._commits) - 1 - self._known)
        text = duration(now - self._began)
        if new and not self._endless and (left := self._left()):
            ahead = (self._committed - self._began) / new * left - (now - self._committed)
            text += f", about {duration(max(1.0, ahead))} left"
        return text


def _state(commit: Commit) -> str:
    if commit.decision.action == "stop":
        return f"stop: {commit.decision.reason}"
    if commit.kind == "rollback":
        return f"back to {commit.restores}"
    return {"initial": "initial model", "training": "committed", "closing": "measured"}[commit.kind]
