"""Follow a run on a console, by polling the store. It only reads, and works with any runner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fedstream.cli.run_table import RunTable
from fedstream.errors import FedstreamError
from fedstream.record.spec import RunSpec
from fedstream.store.store import Store

POLL_S = 0.5
"""Seconds between polls; a round takes longer than that."""

Draw = Callable[[RunTable, bool], Table]
"""Draws a run; the second argument says whether it has ended."""

JOIN_S = 5.0
"""Seconds to wait for the last poll."""


class Watch:
    """Follow one run on a console, in a separate thread, for the duration of the context.

    Args:
        store: The bucket.
        run: Name of the run.
        rounds: Total number of training rounds.
        console: Console to draw on; without a terminal, each round is printed as one line.
        draw: Draws the state of the run on a terminal.
    """

    def __init__(self, store: Store, run: str, rounds: int, console: Console, draw: Draw = RunTable.draw) -> None:
        self.console, self._draw = console, draw
        self._table = RunTable(store, run, rounds)
        self._live: Live | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        if self.console.is_terminal:
            self._live = Live(
                self._draw(self._table, False), console=self.console, refresh_per_second=4, transient=False
            )
            self._live.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(JOIN_S)
        if self._live:
            self._live.__exit__(kind, error, trace)

    def look(self) -> None:
        """Read and show what is new. A temporary failure of the store does not end the run."""
        try:
            new = self._table.update()
            if self._live:
                self._live.update(self._draw(self._table, self._done.is_set()))
            else:
                for commit in new:
                    self._print(self._table.line(commit))
        except FedstreamError as error:
            self._print(f"cannot read the state of the run: {error}")

    def _follow(self) -> None:
        while not self._done.wait(POLL_S):
            self.look()
        self.look()

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def watching(console: Console, draw: Draw = RunTable.draw) -> Callable[[Store, RunSpec], Watch]:
    """Return a function that shows a run on a console, on a terminal by its table or as `draw` draws it."""
    return lambda store, spec: Watch(store, spec.run, spec.rounds, console, draw)
