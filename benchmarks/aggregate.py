"""Measure the time of a weighted mean of many memory-mapped updates, and its memory in addition to the result.

    python -m benchmarks.aggregate [CLIENTS] [PARAMETERS]

The lower bound is `sum += update` in float32 over the same files, which only reads them. The files are in the page
cache and have 4 GB by default.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedstream.aggregation.fedavg import federated_average
from fedstream.cli.output import print_table
from fedstream.record.weights import to_bytes
from fedstream.store.mapped import map_weights

Updates = Sequence[tuple[int, Mapping[str, np.ndarray]]]
"""(num_examples, weights) of each client."""

TURNS = 3
SAMPLE_S = 0.01


def make_updates(folder: Path, clients: int, parameters: int) -> Updates:
    """Write and map updates of clients that have trained a little from a common base, on 40 to 500 records each."""
    rng = np.random.default_rng(0)
    base, change = (
        rng.normal(0, 0.05, parameters).astype(np.float32),
        rng.normal(0, 0.005, parameters).astype(np.float32),
    )
    updates = []
    for number in range(clients):
        path = folder / f"{number}.safetensors"
        path.write_bytes(to_bytes({"w": base + np.roll(change, 7919 * number)}))
        updates.append((int(rng.integers(40, 500)), map_weights(path, str(path))))
    return updates


def memory(name: str) -> int:
    """Return a figure of this process' memory in KiB: RssAnon is anonymous memory, RssFile is mapped from files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextmanager
def watched_memory(peaks: list[int]) -> Iterator[None]:
    """Append to a list by how many KiB RssAnon grows at most during a block of code."""
    done, before, highest = threading.Event(), memory("RssAnon"), 0

    def watch() -> None:
        nonlocal highest
        while not done.wait(SAMPLE_S):
            highest = max(highest, memory("RssAnon") - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        peaks.append(highest)


def floor(updates: Updates) -> None:
    total = np.zeros_like(updates[0][1]["w"])
    for _, weights in updates:
        total += weights["w"]


def measure(clients: int, parameters: int, folder: Path) -> list[tuple[str, str, str, str, str]]:
    updates = make_updates(folder, clients, parameters)
    ways: dict[str, Callable[[], object]] = {
        "floor: float32 +=": lambda: floor(updates),
        "1 thread": lambda: federated_average(updates, threads=1),
        "2 threads": lambda: federated_average(updates, threads=2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, list[int]] = {name: [] for name in ways}
    floor(updates)  # maps the pages
    for _ in range(TURNS):
        for name, run in ways.items():
            with watched_memory(peaks[name]):
                began, busy_before = time.perf_counter(), time.process_time()
                run()
                seconds[name].append(time.perf_counter() - began)
                busy[name].append(time.process_time() - busy_before)
    least, result = statistics.median(busy["floor: float32 +="]), parameters * 4 // 1024
    rows = []
    for name in ways:
        wall, cpu, beside = (
            statistics.median(seconds[name]),
            statistics.median(busy[name]),
            (max(peaks[name]) - result) / 1024,
        )
        rows.append((name, f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / least:.1f}", f"{beside:.1f}"))
    return rows


def main() -> None:
    """Print the table."""
    clients, parameters = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (100, 10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(clients, parameters, Path(folder))
    title = f"mean of {clients} updates of {parameters:,} float32, medians of {TURNS} turns"
    print_table(title, ["way", "seconds", "CPU seconds", "CPU : floor", "MiB beside the result"], rows)


if __name__ == "__main__":
    main()
