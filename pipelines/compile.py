"""Compile a pipeline to YAML, with drop-downs. Run as a module it writes every compiled file; with --check it only tells which are stale."""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from fedstream.pipelines.federated_training.pipeline import federated_training
from kfp import compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from fedstream import __version__
from fedstream.aggregation.registry import strategy_names

CHOICES = {"strategy": strategy_names(), "slices": ["newest", "all"], "publish": ["always", "if-better", "never"]}
"""Parameters that the Kubeflow UI shows as a drop-down. The pipeline format and the UI know `literals`; SDK 2.17.0 cannot write them yet."""

PIPELINES: dict[str, Callable[..., Any]] = {"federated_training": federated_training}

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "kustomize" / "pipelines"
"""Where the resources for GitOps lie; a wheel has no such folder."""


def compile_text(pipeline: Callable[..., Any]) -> str:
    """Return the YAML of a pipeline."""
    text = _compiled(pipeline)
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    documents = list(yaml.safe_load_all(text))
    _add_choices(documents[0])
    return header + _dump(documents)


def manifest_text(pipeline: Callable[..., Any]) -> str:
    """Return a pipeline as Kubernetes resources: a Pipeline, and a PipelineVersion, which cannot be changed and so is named after what it holds."""
    digest = hashlib.sha256(compile_text(pipeline).encode()).hexdigest()[:8]
    name = str(getattr(pipeline, "name", ""))
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{__version__}-{digest}",
        pipeline_version_display_name=f"{__version__} ({digest})",
        include_pipeline_manifest=True,
    )
    documents = list(yaml.safe_load_all(_compiled(pipeline, kubernetes_manifest_format=True, kubernetes_manifest_options=options)))
    _add_choices(documents[1]["spec"]["pipelineSpec"])
    return "# Made by `make compile`.\n" + _dump(documents)


def path_of(name: str) -> Path:
    """Return where the compiled YAML of a pipeline lies."""
    return Path(__file__).parent / name / "pipeline.yaml"


def _compiled(pipeline: Callable[..., Any], **options: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path), **options)
        return path.read_text(encoding="utf-8")


def _add_choices(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for name, choices in CHOICES.items():
        parameters[name]["literals"] = choices


def _dump(documents: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=True, width=10_000)


def _stale() -> Iterator[tuple[Path, str]]:
    """Yield each file that isn't what its pipeline compiles to, and what it should be."""
    for name, pipeline in PIPELINES.items():
        texts = {path_of(name): compile_text(pipeline)}
        if MANIFESTS.is_dir():
            texts[MANIFESTS / f"{name.replace('_', '-')}.yaml"] = manifest_text(pipeline)
        yield from ((path, text) for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text)


def main(arguments: list[str]) -> int:
    """Write the YAML files, or check them."""
    stale = dict(_stale())
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale; run `make compile`", file=sys.stderr)
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
