"""kustomize/pipelines: the compiled pipeline as resources, for GitOps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fedstream.pipelines import FEDERATED_TRAINING_YAML
from fedstream.pipelines.compile import MANIFESTS, federated_training, main, manifest_text
from support.rendering import Objects, named, of_kind, rendered

from fedstream import __version__


@pytest.fixture
def objects() -> Objects:
    return rendered("pipelines")


def test_the_committed_manifest_is_current() -> None:
    assert (MANIFESTS / "federated-training.yaml").read_text(encoding="utf-8") == manifest_text(federated_training)


def test_a_stale_manifest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedstream.pipelines import compile

    monkeypatch.setattr(compile, "MANIFESTS", tmp_path)
    monkeypatch.setattr(compile, "PAGE", tmp_path / "form.md")
    monkeypatch.setattr(compile, "ROOT", tmp_path.parent)
    monkeypatch.setattr(compile, "path_of", lambda name: tmp_path / f"{name}.txt")
    assert main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path.name}/form.md is stale; run `make compile`",
        f"{tmp_path.name}/federated_training.txt is stale; run `make compile`",
        f"{tmp_path.name}/federated-training.yaml is stale; run `make compile`",
    ]
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_the_version_holds_what_the_uploaded_yaml_holds(objects: Objects) -> None:
    (version,) = of_kind(objects, "PipelineVersion")
    pipeline, platform = yaml.safe_load_all(FEDERATED_TRAINING_YAML.read_text(encoding="utf-8"))
    assert version["spec"]["pipelineSpec"] == pipeline
    assert version["spec"]["platformSpec"] == platform


def test_a_version_is_named_after_what_it_holds_since_it_cannot_be_changed(objects: Objects) -> None:
    (pipeline,), (version,) = of_kind(objects, "Pipeline"), of_kind(objects, "PipelineVersion")
    assert (
        version["spec"]["pipelineName"]
        == pipeline["metadata"]["name"]
        == version["spec"]["pipelineSpec"]["pipelineInfo"]["name"]
    )
    assert re.fullmatch(rf"federated-training-{re.escape(__version__)}-[0-9a-f]{{8}}", version["metadata"]["name"])
    assert len(version["metadata"]["name"]) <= 63


def test_both_are_made_where_pipelines_run_and_the_pipeline_first(objects: Objects) -> None:
    assert [(item["apiVersion"], item["kind"], item["metadata"]["namespace"]) for item in objects] == [
        ("pipelines.kubeflow.org/v2beta1", "Pipeline", "kubeflow"),
        ("pipelines.kubeflow.org/v2beta1", "PipelineVersion", "kubeflow"),
    ]


def test_the_readmes_example_has_the_pipeline_and_the_registry_of_a_default_kubeflow() -> None:
    example = rendered("git")
    assert {item["kind"] for item in example} >= {"Pipeline", "PipelineVersion", "ServiceAccount"}
    address = named(example, "ConfigMap", "fedstream")["data"]["MODEL_REGISTRY_URL"]
    assert address == "http://model-registry-service.kubeflow.svc:8080"
