"""Every notebook runs from top to bottom, on the session's Kafka and S3 store,
and its stored outputs are those of such a run.
"""

import re
import runpy
from pathlib import Path

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from support.local_kubeflow import LocalKubeflow

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

execute = runpy.run_path(str(FOLDER / "execute.py"))["execute"]


def stored(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook):
    """What each cell puts out, without the values: these differ from run to run."""
    return [
        [(output.output_type, sorted(output.get("data", {}))) for output in cell.outputs]
        for cell in code_cells(notebook)
    ]


@pytest.fixture
def fake_kubeflow(platform_env, monkeypatch):
    with LocalKubeflow().running() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        yield


@pytest.mark.usefixtures("fake_kubeflow")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_puts_out_what_is_stored(path, tmp_path):
    assert kinds(execute(path, str(tmp_path))) == kinds(stored(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_as_one_run_left_it(path):
    cells = code_cells(stored(path))
    assert len(cells) <= 12
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_name_no_folder_of_a_machine(path):
    text = "\n".join(
        str(output)
        for cell in code_cells(stored(path))
        for output in cell.outputs
        if "image/png" not in output.get("data", {})
    )
    assert not re.search(r"/(home|root|tmp|var|usr|opt|work|Users)/\w+", text)


def test_without_a_cluster_it_says_so_in_a_line(tmp_path, monkeypatch):
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    notebook = stored(FOLDER / "4-submit-to-kubeflow.ipynb")
    with pytest.raises(CellExecutionError, match="error: there is no kubeconfig"):
        nbclient.NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    (output,) = code_cells(notebook)[1].outputs
    assert output.name == "stderr"
    assert output.text.startswith("error: ")
    assert len(output.text.splitlines()) == 1
