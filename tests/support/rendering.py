"""Renders kustomizations for the tests. Knows nothing of what they hold."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "kustomize"

OVERLAYS = ("local", "local-kubeflow", "local-secure", "local-secure-kubeflow", "existing", "gpu")
GPUSHARE = """
namespace: kafkaml
resources: [fedstream/kustomize/base]
components: [fedstream/kustomize/components/gpushare]
labels: [{pairs: {app.kubernetes.io/part-of: fedstream}, includeTemplates: true}]
"""

Objects = list[dict[str, Any]]


def variants() -> dict[str, str]:
    """Return kustomizations that people write themselves:
    the examples of the pages, and one for the component that these do not use.
    """
    outside, seaweedfs, git = _examples(FOLDER / "README.md")
    (infer,) = _examples(FOLDER.parent / "docs/serving.md")
    return {"outside": outside, "seaweedfs": seaweedfs, "gpushare": GPUSHARE, "git": git, "infer": infer}


def _examples(page: Path) -> list[str]:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "kind: Kustomization" in block]


@functools.cache
def rendered(name: str) -> Objects:
    """Return the objects of a folder or variant."""
    if (FOLDER / name / "kustomization.yaml").is_file():
        return render(FOLDER / name)
    with tempfile.TemporaryDirectory() as folder:
        ours = os.path.relpath(FOLDER, os.path.realpath(folder))
        (Path(folder) / "kustomization.yaml").write_text(variants()[name].replace("fedstream/kustomize", ours))
        (Path(folder) / "store.env").write_text((FOLDER / "local/store.env").read_text())
        return render(Path(folder))


def render(folder: Path) -> Objects:
    """Return the objects of any folder with a kustomization."""
    if shutil.which("kustomize"):
        command = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    else:
        pytest.skip(
            "neither kustomize nor kubectl is installed; `go install "
            "sigs.k8s.io/kustomize/kustomize/v5@latest` builds the first"
        )
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [item for item in objects if item["kind"] in kinds]


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """Return the one object of that kind and name."""
    found = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def workloads(objects: Objects) -> Objects:
    return of_kind(objects, "StatefulSet", "Deployment", "DaemonSet", "Job")


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    return workload["spec"]["template"]["spec"]


def labels_of_pods(objects: Objects) -> list[dict[str, str]]:
    return [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads(objects)]
