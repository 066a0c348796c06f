"""The live table of a run: what the store says, again and again. Reads only; the same for any runner."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fedstream.errors import FedstreamError
from fedstream.run import RunRecord
from fedstream.store.documents import Commit, Selection
from fedstream.store.layout import RoundKeys, RunKeys
from fedstream.store.objects import ObjectStore

POLL_S = 0.5
"""Seconds between looks: a round takes longer than that."""

JOIN_S = 5.0
"""Seconds the last look may take."""

SHOWN_ROUNDS = 15
"""Rounds kept in the table: it must fit a screen."""


@dataclass
class Watch:
    """Follow one run on a console, in a thread of its own, for as long as the context lasts.

    Attributes:
        store: the bucket.
        run: name of the run.
        rounds: training rounds wanted in all, for the time left.
        console: where to draw; without a terminal, each round is one line.
    """

    store: ObjectStore
    run: str
    rounds: int
    console: Console
    _record: RunRecord | None = None
    _commits: dict[int, Commit] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _known: int = 0
    _live: Live | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=False)
            self._live.__enter__()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if self._thread:
            self._thread.join(JOIN_S)
        if self._live:
            self._live.__exit__(kind, error, trace)

    def _follow(self) -> None:
        while not self._done.wait(POLL_S):
            self._look()
        self._look()

    def _look(self) -> None:
        """Read what is new, and show it. A store that is away for a moment is no reason to end a run."""
        try:
            self._read()
            if self._live:
                self._live.update(self._table())
        except FedstreamError as error:
            self.console.log(f"cannot look at the run: {error}")

    def _read(self) -> None:
        keys = RunKeys(self.run)
        if self._record is None:
            if not self.store.exists(keys.spec):
                return
            self._record = RunRecord.model_validate_json(self.store.get(keys.spec))
            first = self._commits_from(0)
            self._known = sum(commit.kind != "initial" for commit in first)
            return
        for commit in self._commits_from(len(self._commits)):
            if not self._live:
                self.console.print(_line(commit))

    def _commits_from(self, round: int) -> list[Commit]:
        new = []
        while self.store.exists(RoundKeys(self.run, round).commit):
            self._commits[round] = Commit.model_validate_json(self.store.get(RoundKeys(self.run, round).commit))
            new.append(self._commits[round])
            round += 1
        return new

    def _table(self) -> Table:
        table = Table(title=f"run {self.run}", caption=self._caption(), title_justify="left", caption_justify="left")
        for column, justify in [("round", "right"), ("clients", "right"), ("records", "right"), ("measured", "left"), ("state", "left")]:
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        done = [commit for commit in self._commits.values() if commit.kind != "initial"]
        for commit in done[-SHOWN_ROUNDS:]:
            accepted = [entry for entry in commit.clients if entry.accepted]
            table.add_row(
                str(commit.round),
                f"{len(accepted)}/{len(commit.clients)}",
                f"{sum(e.num_examples for e in accepted):,}",
                _measured(commit),
                _state(commit),
            )
        if self._record and self._commits:
            table.add_row(*self._open_row(max(self._commits) + 1))
        return table

    def _open_row(self, round: int) -> tuple[str, str, str, str, str]:
        keys = RoundKeys(self.run, round)
        if not self.store.exists(keys.selection):
            return "", "", "", "", "starting" if len(self._commits) <= self.rounds else ""
        selection = Selection.model_validate_json(self.store.get(keys.selection))
        done = sum(self.store.exists(keys.manifest(client)) for client in selection.clients)
        ready = sum(self.store.exists(keys.slice(client)) for client in selection.clients)
        state = (
            "aggregating" if done == len(selection.clients) else f"{ready} slices ready, {'measuring' if selection.kind == 'closing' else 'training'}"
        )
        return str(round), f"{done}/{len(selection.clients)}", "", "", state

    def _caption(self) -> str:
        elapsed = time.monotonic() - self._began
        done = sum(commit.kind != "initial" for commit in self._commits.values())
        left = self.rounds + bool(self._record and self._record.spec.federated_evaluation) - done
        text = f"{elapsed:.0f} s"
        if (new := done - self._known) > 0 and left > 0:
            text += f", about {elapsed / new * left:.0f} s left"
        return text


def _measured(commit: Commit) -> str:
    if not commit.metrics or commit.measured_round is None:
        return ""
    values = ", ".join(f"{name} {value:.4f}" for name, value in commit.metrics.values.items())
    return f"round {commit.measured_round}: {values}"


def _state(commit: Commit) -> str:
    return f"stop: {commit.decision.reason}" if commit.decision.action == "stop" else "closed" if commit.kind == "closing" else "committed"


def _line(commit: Commit) -> str:
    accepted = [entry for entry in commit.clients if entry.accepted]
    return f"round {commit.round}: {len(accepted)}/{len(commit.clients)} clients, {sum(e.num_examples for e in accepted)} records; {_measured(commit)}; {_state(commit)}"
