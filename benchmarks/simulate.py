"""The digits job without servers: a plain loop, fedstream simulate, and other simulators.

The job is 10 clients x 20 rounds, an MLP of 64-64-64-10, SGD with 0.1, batches of 10, one epoch. Each way of running it
has a process of its own. The overhead of a round is what it takes beyond a plain loop of the same training: of Keras
for fedstream, of numpy for the others, which train in numpy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
"""Python of the environment of the other simulators, which `make bench` makes."""

FEDSTREAM = {"plain loop, Keras": "plain_keras", "fedstream simulate": "simulated"}
OTHERS = {"plain loop, numpy": "plain_numpy", "Flower": "flower_digits", "pfl": "pfl_digits"}

FLOORS = {"fedstream simulate": "plain loop, Keras", "Flower": "plain loop, numpy", "pfl": "plain loop, numpy"}
"""What each simulator's overhead is measured against."""


def main() -> None:
    """Print a table of seconds, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3, help="how often each is run; the best turn counts")
    parser.add_argument("--peers", type=Path, default=PEERS, help="Python of the environment of the other simulators")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder), options.clients)
        for name, module in FEDSTREAM.items():
            figures[name] = best(options, [sys.executable, "-m", f"benchmarks.digits.{module}"], data)
        for name, module in OTHERS.items():
            figures[name] = (
                best(options, [str(options.peers), str(ROOT / "benchmarks" / "peers" / f"{module}.py")], data)
                if options.peers.exists()
                else {"skipped": f"there is no {options.peers}; make it with `make bench`"}
            )
    for name, floor in FLOORS.items():
        if "skipped" not in figures[name] | figures[floor]:
            for unit in ("wall_ms", "cpu_ms"):
                figures[name][f"overhead_{unit}"] = figures[name][unit] - figures[floor][unit]
    print(json.dumps(figures, indent=2) if options.json else table(figures))


def write_data(folder: Path, clients: int) -> Path:
    """Write the digits, dealt to clients, to a file that every environment can read."""
    from fedstream.local.datasets import load_dataset
    from fedstream.local.partition import deal

    digits = load_dataset("digits")
    owner = np.empty(len(digits.y_train), np.int64)
    for number, own in enumerate(deal(digits.y_train, clients, "iid"), 1):
        owner[own] = number
    path = folder / "digits.npz"
    np.savez(
        path,
        x_train=digits.x_train,
        y_train=digits.y_train,
        x_test=digits.x_test,
        y_test=digits.y_test,
        owner=np.array([f"client-{number:03}" for number in owner]),
    )
    return path


def best(options: argparse.Namespace, command: list[str], data: Path) -> dict[str, Any]:
    """Run a job several times and return the figures of the turn with the shortest median round."""
    turns = [one(command, data, options.rounds) for _ in range(options.turns)]
    done = [turn for turn in turns if "skipped" not in turn]
    return min(done, key=lambda turn: turn["wall_ms"]) if done else turns[0]


def one(command: list[str], data: Path, rounds: int) -> dict[str, Any]:
    done = subprocess.run([*command, str(data), str(rounds)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["it failed"])[-1]}
    said = json.loads(done.stdout.strip().splitlines()[-1])
    if "skipped" in said:
        return dict(said)
    # The first round of each traces or compiles, starts workers, or fills caches.
    warm = {
        unit: statistics.median(values[1:]) * 1000
        for unit, values in (("wall_ms", said["wall"]), ("cpu_ms", said["cpu"]))
    }
    return {**warm, "first_ms": said["wall"][0] * 1000, "accuracy": said["accuracy"], "peak_mib": said["peak_mib"]}


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table; a round is the median of all but the first."""
    lines = [
        "| | a round, ms | CPU ms | overhead, ms | overhead, CPU ms | first round, ms | accuracy | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures.items():
        if "skipped" in found:
            lines.append(f"| {name} | {found['skipped']} | | | | | | |")
            continue
        overhead = [f"{found[unit]:.1f}" if unit in found else "" for unit in ("overhead_wall_ms", "overhead_cpu_ms")]
        lines.append(
            f"| {name} | {found['wall_ms']:.1f} | {found['cpu_ms']:.1f} | {' | '.join(overhead)} | "
            f"{found['first_ms']:.0f} | {found['accuracy']:.4f} | {found['peak_mib']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
