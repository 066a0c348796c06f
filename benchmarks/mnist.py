"""Measure a run on MNIST with 10 clients of 2 label shards, the 2NN model and 5 rounds, and the memory of its steps.

The run uses Kafka and the compiled pipeline.

python -m benchmarks.mnist mnist.npz
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from fedstream.cli.output import print_table

POLL_S = 0.2


class Memory(threading.Thread):
    """Watch the resident memory of a process' descendants, by the function that each step runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peaks, self.done = psutil.Process(pid), {}, threading.Event()

    def run(self) -> None:
        while not self.done.wait(POLL_S):
            for child in self.root.children(recursive=True):
                try:
                    found = re.search(r"--function_to_execute\s+(\w+)", " ".join(child.cmdline()))
                    if found:
                        self.peaks[found[1]] = max(self.peaks.get(found[1], 0), child.memory_info().rss)
                except psutil.Error:
                    continue


def main() -> None:
    """Print the tables."""
    dataset = str(Path(sys.argv[1]).absolute())
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"FEDSTREAM_HOME": folder}
        command = [sys.executable, "-m", "fedstream.cli"]
        began = time.perf_counter()
        options = ["--dataset", dataset, "--partition", "shards", "--clients", "10", "--rounds", "5", "--json"]
        child = subprocess.Popen([*command, "demo", *options], env=env, cwd=folder, stdout=subprocess.PIPE)
        memory = Memory(child.pid)
        memory.start()
        try:
            output, _ = child.communicate()
        finally:
            memory.done.set()
            subprocess.run([*command, "services", "down"], env=env, check=True, stdout=subprocess.DEVNULL)
    outcome = json.loads(output)
    rows = [(time.perf_counter() - began, outcome["round"], outcome["metrics"]["accuracy"])]
    print_table("MNIST, 10 clients of 2 label shards, 2NN, 5 rounds", ["seconds", "best round", "accuracy"], rows)
    print_table(
        "peak resident memory of a step",
        ["step", "MiB"],
        [(name, peak / 2**20) for name, peak in sorted(memory.peaks.items())],
    )


if __name__ == "__main__":
    main()
