"""Run every notebook from top to bottom and store its outputs: `make notebooks`."""

from pathlib import Path

import nbclient
import nbformat

CELL_S = 300


def execute(path: Path) -> None:
    """Run one notebook in place. What libraries say on standard error is not kept."""
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        print(f"running {path.name}")
        execute(path)
