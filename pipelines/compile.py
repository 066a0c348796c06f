"""Compile a pipeline to YAML, with drop-downs. Run as a module it writes every pipeline.yaml; with --check it only tells which are stale."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from fedstream.pipelines.federated_training.pipeline import federated_training
from kfp import compiler

from fedstream.aggregation.strategies import STRATEGIES

CHOICES = {"strategy": sorted(STRATEGIES)}
"""Parameters that the Kubeflow UI shows as a drop-down. The pipeline format and the UI know `literals`; SDK 2.17.0 cannot write them yet."""

PIPELINES: dict[str, Callable[..., Any]] = {"federated_training": federated_training}


def compile_text(pipeline: Callable[..., Any]) -> str:
    """Return the YAML of a pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        text = path.read_text(encoding="utf-8")
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    documents = list(yaml.safe_load_all(text))
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    for name, choices in CHOICES.items():
        parameters[name]["literals"] = choices
    return header + yaml.safe_dump_all(documents, sort_keys=True, width=10_000)


def path_of(name: str) -> Path:
    """Return where the compiled YAML of a pipeline lies."""
    return Path(__file__).parent / name / "pipeline.yaml"


def main(arguments: list[str]) -> int:
    """Write the YAML files, or check them."""
    stale = [
        name
        for name, pipeline in PIPELINES.items()
        if not path_of(name).exists() or path_of(name).read_text(encoding="utf-8") != compile_text(pipeline)
    ]
    if arguments == ["--check"]:
        for name in stale:
            print(f"pipelines/{name}/pipeline.yaml is stale; run `make compile`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path_of(name).write_text(compile_text(PIPELINES[name]), encoding="utf-8")
        print(f"wrote pipelines/{name}/pipeline.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
