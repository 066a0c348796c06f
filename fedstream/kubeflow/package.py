"""What a compiled pipeline says about itself: its form, its tasks, its images, and what it takes from config maps and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstream.errors import UsageError
from fedstream.record.canonical import sha256_hex

CHANNEL = "pipelinechannel--"
"""What the compiler puts before the name of a pipeline's parameter inside a loop."""

CLIENTS_KEY = "client_store_secret"
"""The form value that names the secret of the clients' pods."""


@dataclass(frozen=True)
class Source:
    """A config map or a secret that the steps read.

    Attributes:
        kind: `configMap` or `secret`.
        parameter: form value that names it.
        optional: whether it may be absent.
        keys: key -> environment variable.
        mount_path: where all of its keys are files; empty for none.
    """

    kind: str
    parameter: str
    optional: bool
    keys: dict[str, str]
    mount_path: str = ""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: its file.
        name: name of the pipeline.
        description: what it is for.
        digest: SHA-256 of the file's bytes.
        parameters: form value -> default; None where there is none.
        types: form value -> type, as Kubeflow calls it.
        steps: names of the tasks that run in a pod.
        conditions: names of the tasks that a condition may skip.
        images: those of the pods, sorted.
        sources: config maps and secrets of the pods.
        least_memory: what steps ask their node for whose limit is a form value; empty if there are none.
    """

    path: Path
    name: str
    description: str
    digest: str
    parameters: dict[str, Any]
    types: dict[str, str]
    steps: frozenset[str]
    conditions: frozenset[str]
    images: tuple[str, ...]
    sources: tuple[Source, ...]
    least_memory: str

    @property
    def version(self) -> str:
        """Name of the pipeline's version: the same file is the same version."""
        return f"sha256-{self.digest[:16]}"

    def names(self, given: dict[str, Any]) -> dict[str, str]:
        """Return the name of each config map and secret by its form value: what was given, or else the form's default."""
        return {source.parameter: str(given.get(source.parameter) or self.parameters.get(source.parameter) or "") for source in self.sources}


def shipped_pipeline() -> Path:
    """Return the path of the compiled looping pipeline, without importing KFP."""
    from importlib.util import find_spec

    found = find_spec("fedstream.pipelines")
    folder = Path(found.origin).parent if found and found.origin else Path(__file__).parents[2] / "pipelines"
    return folder / "federated_training" / "pipeline.yaml"


def read_package(path: Path) -> Package:
    """Read a compiled pipeline.

    Raises:
        UsageError: it cannot be read, or is no compiled pipeline.
    """
    import yaml

    try:
        data = path.read_bytes()
        documents = [document for document in yaml.load_all(data, _safe_loader()) if isinstance(document, dict)]
    except OSError as error:
        raise UsageError(f"cannot read the pipeline {str(path)!r}: {error.strerror}; name a compiled one with --package-file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} is not YAML ({str(error).splitlines()[0]}); compile the pipeline with kfp") from error
    try:
        return _package(path, sha256_hex(data), documents)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{str(path)!r} is no compiled pipeline ({type(error).__name__}: {error}); compile it with kfp 2.15 or later") from error


def _safe_loader() -> Any:
    """Return YAML's safe loader, in C where it is there: ten times faster."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _package(path: Path, digest: str, documents: list[dict[str, Any]]) -> Package:
    spec = documents[0]
    executors = spec["deploymentSpec"]["executors"]
    tasks = [
        (name, task) for component in [spec["root"], *spec["components"].values()] for name, task in component.get("dag", {}).get("tasks", {}).items()
    ]
    in_pods = {name for name, component in spec["components"].items() if "executorLabel" in component}
    form = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if len(documents) > 1 else {}
    return Package(
        path=path,
        name=spec["pipelineInfo"]["name"],
        description=spec["pipelineInfo"].get("description", ""),
        digest=digest,
        parameters={name: parameter.get("defaultValue") for name, parameter in form.items()},
        types={name: parameter["parameterType"] for name, parameter in form.items()},
        steps=frozenset(name for name, task in tasks if task["componentRef"]["name"] in in_pods),
        conditions=frozenset(name for name, task in tasks if "condition" in task.get("triggerPolicy", {})),
        images=tuple(sorted({executor["container"]["image"] for executor in executors.values() if "container" in executor})),
        sources=_sources(platform),
        least_memory=_least_memory(executors),
    )


def _least_memory(executors: dict[str, Any]) -> str:
    resources = [executor.get("container", {}).get("resources", {}) for executor in executors.values()]
    asked = [
        (float(one.get("memoryRequest", 0)), one.get("resourceMemoryRequest", ""))
        for one in resources
        if str(one.get("resourceMemoryLimit", "")).startswith("{{")
    ]
    return str(max(asked)[1]) if asked else ""


def _sources(platform: dict[str, Any]) -> tuple[Source, ...]:
    """Return what any of the pods takes, each once; but for the clients' keys, which may do less than a doctor tries and may differ by site."""
    found: list[Source] = []
    for executor in platform.values():
        found += [source for source in _taken(executor) if source not in found and source.parameter not in ("", CLIENTS_KEY)]
    return tuple(found)


def _taken(executor: dict[str, Any]) -> Iterator[Source]:
    for kind in ("configMap", "secret"):
        for entry in executor.get(f"{kind}AsEnv", []):
            keys = {pair[f"{kind}Key"]: pair["envVar"] for pair in entry["keyToEnv"]}
            yield Source(kind, _parameter(entry[f"{kind}NameParameter"]), entry.get("optional", False), keys)
        for entry in executor.get(f"{kind}AsVolume", []):
            yield Source(kind, _parameter(entry[f"{kind}NameParameter"]), entry.get("optional", False), {}, entry["mountPath"])


def _parameter(reference: dict[str, Any]) -> str:
    """Return the form's parameter with the name; empty where a task of the run decides it."""
    return "" if "taskOutputParameter" in reference else str(reference["componentInputParameter"]).removeprefix(CHANNEL)
