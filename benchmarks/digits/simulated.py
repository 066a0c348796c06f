"""`fedstream simulate`, on the store in memory."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from itertools import pairwise

from benchmarks.peers.job import LEARNING_RATE, peak_mib
from fedstream.local import inprocess
from fedstream.simulation.federation import Setting
from fedstream.simulation.simulate import simulate
from fedstream.simulation.source import read_source
from fedstream.store.memory import MemoryStore


def main(path: str, rounds: int) -> None:
    """Run the job and print its figures. A round lasts until the next one begins."""
    source, began, real = read_source(path), list[tuple[float, float]](), inprocess.order.run_round

    def timed(steps: inprocess.InProcess) -> None:
        began.append((time.perf_counter(), time.process_time()))
        real(steps)

    inprocess.order.run_round = timed  # type: ignore[assignment]
    spec = {"batch_size": 10, "rounds": rounds + 1, "learning_rate": LEARNING_RATE}
    outcome = simulate(
        source, Setting(partition="column:owner"), spec, MemoryStore(), None, lambda *_: contextlib.nullcontext()
    )
    wall, cpu = ([after[unit] - before[unit] for before, after in pairwise(began)] for unit in (0, 1))
    print(json.dumps({"wall": wall, "cpu": cpu, "accuracy": outcome["metrics"]["accuracy"], "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
