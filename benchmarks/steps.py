"""Measure how long a step takes to start.

python -m benchmarks.steps
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from fedstream.cli.output import print_table

TURNS = 7

STARTS = {
    "python alone": "pass",
    "kfp's executor": "import kfp.dsl.executor_main",
    "open_round": "from fedstream import steps; steps.open_round",
    "select_clients": "from fedstream import steps; steps.select_clients",
    "ingest_from_kafka": "from fedstream import steps; steps.ingest_from_kafka",
    "aggregate": "from fedstream import steps; steps.aggregate",
    "plan_training": "from fedstream import steps; steps.plan_training",
    "TensorFlow (local_train)": "from fedstream.model._tensorflow import tensorflow; tensorflow()",
}


def start(code: str) -> float:
    """Return the seconds that a new process takes to run the code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={"_KFP_RUNTIME": "true"}, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(TURNS):
        for name, code in STARTS.items():
            seconds[name].append(start(code))
    rows = [(name, min(own), statistics.median(own), max(own)) for name, own in seconds.items()]
    print_table(f"seconds until a step's code is imported, of {TURNS} turns", ["process", "min", "median", "max"], rows)


if __name__ == "__main__":
    main()
