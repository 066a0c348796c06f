"""Compile a pipeline to YAML, with drop-downs.

Run as a module, this file writes every generated file. With --check, it only reports which of them are stale.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from fedstream.pipelines.federated_training.pipeline import federated_training
from fedstream.pipelines.page import form_page
from kfp import compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from fedstream import __version__
from fedstream.aggregation.registry import strategy_names
from fedstream.record.form import form_of, packed_form
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec

FORM = packed_form(RunSpec, PipelineOptions)

CHOICES = {"strategy": strategy_names()}
"""Drop-downs in addition to those that follow from a field's type."""

PIPELINES: dict[str, Callable[..., Any]] = {"federated_training": federated_training}

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "kustomize" / "pipelines"
"""Folder of the resources for GitOps. A wheel does not contain it."""

PAGE = ROOT / "docs" / "form.md"
"""The page that describes the form. A wheel does not contain it either."""


def compile_text(pipeline: Callable[..., Any]) -> str:
    """Return the YAML of a pipeline."""
    documents = list(yaml.safe_load_all(_compiled(pipeline)))
    _add_choices(documents[0])
    return _dump(documents)


def manifest_text(pipeline: Callable[..., Any]) -> str:
    """Return a pipeline as Kubernetes resources: a Pipeline and a PipelineVersion.

    A PipelineVersion is immutable, so its name contains a digest of its content.
    """
    digest = hashlib.sha256(compile_text(pipeline).encode()).hexdigest()[:8]
    name = str(getattr(pipeline, "name", ""))
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{__version__}-{digest}",
        pipeline_version_display_name=f"{__version__} ({digest})",
        include_pipeline_manifest=True,
    )
    documents = list(
        yaml.safe_load_all(_compiled(pipeline, kubernetes_manifest_format=True, kubernetes_manifest_options=options))
    )
    _add_choices(documents[1]["spec"]["pipelineSpec"])
    return _dump(documents)


def path_of(name: str) -> Path:
    """Return the path of a pipeline's compiled YAML."""
    return Path(__file__).parent / name / "pipeline.yaml"


def _compiled(pipeline: Callable[..., Any], **options: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path), **options)
        return path.read_text(encoding="utf-8")


def _add_choices(spec: dict[str, Any]) -> None:
    """Add the choices that the Kubeflow UI shows as drop-downs.

    The pipeline format and the UI support `literals`, but SDK 2.17.0 cannot write them yet.
    """
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for field in FORM:
        if choices := CHOICES.get(field.name, field.choices):
            parameters[field.name]["literals"] = list(choices)


def _dump(documents: list[dict[str, Any]]) -> str:
    """Return reproducible YAML: the YAML that kfp writes has comments that list objects in arbitrary order."""
    return "# Made by `make compile`.\n" + yaml.safe_dump_all(documents, sort_keys=True, width=10_000)


def _stale() -> Iterator[tuple[Path, str]]:
    """Yield each generated file that is out of date, with the content that it should have."""
    if PAGE.parent.is_dir():
        yield from _changed({PAGE: form_page(form_of(RunSpec, PipelineOptions))})
    for name, pipeline in PIPELINES.items():
        texts = {path_of(name): compile_text(pipeline)}
        if MANIFESTS.is_dir():
            texts[MANIFESTS / f"{name.replace('_', '-')}.yaml"] = manifest_text(pipeline)
        yield from _changed(texts)


def _changed(texts: dict[Path, str]) -> Iterator[tuple[Path, str]]:
    return (
        (path, text) for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    )


def main(arguments: list[str]) -> int:
    """Write the YAML files, or check whether they are current."""
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
