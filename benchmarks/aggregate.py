"""Measure aggregation beside its lower bound, Flower and NVFlare: time, memory, rounding, and dependence on order.

    python -m benchmarks.aggregate [SIZE ...]

A SIZE such as 100x10M is clients x parameters; the default is 10x1M 100x1M 10x10M 100x10M, which needs 4 GB in the
folder of temporary files, and 9 GB of memory for Flower. The updates are mapped from files in the page cache. Flower
and NVFlare run in an environment of their own, which `make bench` creates. Every library and method runs in a process
of its own, and measures the lower bound (`sum += update` in float32) in each turn, so the ratio to it belongs to the
same moment.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aggregate_with import ATTACKERS, CHECKED
from fedstream.aggregation.rounding import rounded_means
from fedstream.cli.output import print_table

SIZES = ("10x1M", "100x1M", "10x10M", "100x10M")
METHODS = ("mean", "median", "trimmed mean", "krum", "FedAdam")
TURNS = 3
LARGE = 200_000_000
"""Values above which peers have one turn only."""

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
RESULT = ROOT / "build" / "aggregate.json"
TIMEOUT_S = 1_800


def make_updates(folder: Path, clients: int, parameters: int) -> None:
    """Write updates of clients that have trained a little from a common base, on 40 to 500 records each."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.05, parameters).astype(np.float32)
    change = rng.normal(0, 0.005, parameters).astype(np.float32)
    np.save(folder / "base.npy", base)
    np.save(folder / "counts.npy", rng.integers(40, 500, clients))
    for number in range(clients):
        np.save(folder / f"update-{number:03}.npy", base + np.roll(change, 7919 * number))


def exact(method: str, folder: Path) -> np.ndarray | None:
    """Return the correctly rounded result for the checked elements; None if the method has none that is unique."""
    counts = np.load(folder / "counts.npy").tolist()
    rows = [np.load(path, mmap_mode="r")[:CHECKED] for path in sorted(folder.glob("update-*.npy"))]
    if method == "mean":
        return rounded_means(rows, counts, np.arange(rows[0].size))
    values, trimmed = np.sort(np.array(rows), axis=0), len(rows) // ATTACKERS
    if method == "median":
        trimmed = (len(rows) - 1) // 2
    elif method != "trimmed mean":
        return None
    kept = list(values[trimmed : len(rows) - trimmed])
    return rounded_means(kept, [1] * len(kept), np.arange(kept[0].size))


def run(library: str, method: str, folder: Path, turns: int) -> dict[str, Any]:
    """Measure a library's method in a process of its own, or say why that is not possible."""
    python = sys.executable if library == "fedstream" else str(PEERS)
    if not Path(python).exists():
        return {"problem": "not installed; `make bench` does that"}
    words = [python, "-m", "benchmarks.aggregate_with", library, method, str(folder), str(turns)]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": f"took more than {TIMEOUT_S} s"}
    if done.returncode:
        return {"problem": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:80]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    expected, made = exact(method, folder), np.load(folder / "result.npy")
    if expected is not None:
        found["wrongly_rounded"] = float(np.mean(made.astype(np.float64) != expected))
    return found


def measured(size: str) -> Iterator[dict[str, Any]]:
    """Yield what each library and method took for one size."""
    clients, parameters = size.replace("M", "000000").split("x")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_updates(folder, int(clients), int(parameters))
        for method in METHODS:
            for library in ("fedstream", "Flower", *(["NVFlare"] if method == "mean" else [])):
                large = library != "fedstream" and int(clients) * int(parameters) > LARGE
                yield {
                    "size": size,
                    "method": method,
                    "library": library,
                    **run(library, method, folder, 1 if large else TURNS),
                }


def row(found: dict[str, Any]) -> Sequence[str]:
    """Return a row of the table."""
    if "problem" in found:
        return [found["method"], found["library"], found["problem"], *[""] * 6]
    seconds, cpu, floor, floor_cpu = (
        statistics.median(found[name]) for name in ("seconds", "cpu_seconds", "floor_seconds", "floor_cpu_seconds")
    )
    wrong = found.get("wrongly_rounded")
    return [
        found["method"],
        found["library"],
        f"{seconds:.2f}",
        f"{cpu:.2f}",
        f"{seconds / floor:.1f}",
        f"{cpu / floor_cpu:.1f}",
        f"{found['memory_mib']:,.0f}",
        "" if wrong is None else f"{100 * wrong:.3g} %",
        f"{100 * found['depend_on_order']:.3g} %",
    ]


COLUMNS = ("method", "library", "seconds", "CPU seconds", "seconds : floor", "CPU : floor", "MiB beside the result")
ACCURACY = ("wrongly rounded", "depend on order")


def main(sizes: Sequence[str] = SIZES) -> None:
    """Print a table for each size, and write each figure as JSON when it is there."""
    everything: list[dict[str, Any]] = []
    for size in sizes:
        for found in measured(size):
            everything.append(found)
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(everything, indent=1), encoding="utf-8")
        rows = [row(one) for one in everything if one["size"] == size]
        print_table(f"{size} float32", [*COLUMNS, *ACCURACY], rows)


if __name__ == "__main__":
    main(sys.argv[1:] or SIZES)
