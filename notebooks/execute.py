"""Run notebooks from top to bottom and store their outputs.

Usage: `make notebooks`, or `python notebooks/execute.py FILE...`.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

from fedstream.local.platform import Platform

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.local_kubeflow import LocalKubeflow

CELL_S = 300


def execute(path: Path, folder: str) -> nbformat.NotebookNode:
    """Return a notebook as it is after its cells ran in a folder. What libraries say on standard error is not kept."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(
        notebook, timeout=CELL_S, kernel_name="python3", resources=resources, coalesce_streams=True
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main(paths: list[Path]) -> None:
    """Run the notebooks on empty servers and a fake Kubeflow, and store their outputs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform(Path(folder) / "servers") as platform,
        LocalKubeflow().running() as kubeflow,
    ):
        os.environ.update(platform.env, KF_PIPELINES_ENDPOINT=kubeflow.url)
        for path in paths:
            print(f"running {path.name}")
            nbformat.write(execute(path, folder), path)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(Path(__file__).parent.glob("*.ipynb")))
