"""Run the compiled YAML on this machine: `python -m fedstream.pipelines.run_locally` reads {"arguments": {...}} from standard input, and prints the result last."""

import json
import sys
import tempfile
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


if __name__ == "__main__":
    output = run_locally("federated_training", json.load(sys.stdin)["arguments"])
    print(json.dumps({"version": output}))
