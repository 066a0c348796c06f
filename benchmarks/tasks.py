"""Measure the time that kfp.local adds to a task, in addition to the start of its process.

python -m benchmarks.tasks
"""

import statistics
import subprocess
import sys
import tempfile
import time

from kfp import dsl, local

from fedstream.cli.output import print_table

TASKS = 10


@dsl.component(base_image="python", install_kfp_package=False)
def nothing(number: int) -> int:
    """Do nothing."""
    return number


@dsl.pipeline(name="nothings")
def nothings(number: int) -> int:
    """Do nothing repeatedly."""
    task = nothing(number=number)
    for _ in range(TASKS - 1):
        task = nothing(number=task.output)
    return task.output


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder)
        began = time.perf_counter()
        nothings(number=1)
        task = (time.perf_counter() - began) / TASKS
    starts = []
    for _ in range(TASKS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import kfp.dsl.executor_main"], check=True, env={"_KFP_RUNTIME": "true"})
        starts.append(time.perf_counter() - began)
    start = statistics.mean(starts)
    print_table(
        f"seconds per task, mean of {TASKS}",
        ["task", "process start", "added by the pipeline"],
        [(task, start, task - start)],
    )


if __name__ == "__main__":
    main()
