"""Measure the whole demonstration: digits, 3 clients, 3 rounds, on a fresh embedded platform.

python -m benchmarks.demo
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from fedstream.cli.output import print_table


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"FEDSTREAM_HOME": folder}
        command = [sys.executable, "-m", "fedstream.cli"]
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [*command, "demo", "--json"],
                env=env,
                cwd=folder,
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            seconds = time.perf_counter() - began
        finally:
            subprocess.run([*command, "services", "down"], env=env, check=True, stdout=subprocess.DEVNULL)
    outcome = json.loads(done.stdout)
    print_table(
        "the demonstration, digits, 3 clients x 3 rounds",
        ["seconds", "accuracy"],
        [(seconds, outcome["metrics"]["accuracy"])],
    )


if __name__ == "__main__":
    main()
