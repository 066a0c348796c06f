"""Run the compiled YAML on this machine, for `fedstream run`: `python -m fedstream.pipelines.run_locally RESULT`.

Reads the pipeline's parameters from standard input, as one line of JSON, and writes {"version": N} to the file RESULT.
The process ends with its parent, that is, when standard input ends, since a parent that was killed cannot end it.
"""

import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from fedstream.pipelines.compile import path_of
from kfp import components, local


def run_locally(name: str, arguments: dict[str, object]) -> object:
    """Run a compiled pipeline in subprocesses and return its output.

    Args:
        name: Name of the pipeline.
        arguments: Its parameters.
    """
    with tempfile.TemporaryDirectory(prefix="fedstream-") as folder:
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(Path(folder) / "outputs"))
        return components.load_component_from_file(str(path_of(name)))(**arguments).output


def end_with_parent() -> None:
    """Wait for the end of standard input, then kill this process and its steps, which share its process group."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(result: str) -> None:
    """Read the arguments, run, and write the result."""
    arguments = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    output = run_locally("federated_training", arguments)
    Path(result).write_text(json.dumps({"version": output}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
