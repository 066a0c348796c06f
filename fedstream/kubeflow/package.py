"""Read a compiled pipeline: its form, its tasks, its images, and the ConfigMaps and Secrets that it uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstream.errors import UsageError
from fedstream.record.canonical import sha256_hex

CHANNEL = "pipelinechannel--"
"""Prefix that the compiler adds to the name of a pipeline parameter inside a loop."""

CLIENTS_KEY = "client_store_secret"
"""The form value with the name of the Secret of the clients' pods."""

NOISE_KEY = "noise_secret"
"""The form value with the name of the Secret from which noise is made."""


@dataclass(frozen=True)
class Source:
    """A ConfigMap or Secret that the steps read.

    Attributes:
        kind: `configMap` or `secret`.
        parameter: Form value with its name.
        optional: Whether the steps can run without it.
        keys: Key -> environment variable.
        mount_path: Path at which all of its keys are mounted as files; empty if it is not mounted.
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
        path: Path of the file.
        name: Name of the pipeline.
        description: Description of the pipeline.
        digest: SHA-256 of the file's bytes.
        parameters: Form value -> default; None if it has no default.
        types: Form value -> its type in Kubeflow's terms.
        steps: Names of the tasks that run in a pod.
        conditions: Names of the tasks that a condition can skip.
        images: Images of the pods, sorted.
        sources: ConfigMaps and Secrets of the pods.
        least_memory: Largest memory request of the steps whose memory limit is a form value; empty if there are none.
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
        """Name of the pipeline version, which depends only on the content of the file."""
        return f"sha256-{self.digest[:16]}"

    def names(self, given: dict[str, Any]) -> dict[str, str]:
        """Return the names of the ConfigMaps and Secrets by form value; the form's default where no name is given."""
        return {
            source.parameter: str(given.get(source.parameter) or self.parameters.get(source.parameter) or "")
            for source in self.sources
        }


def shipped_pipeline() -> Path:
    """Return the path of the compiled training pipeline, without importing KFP."""
    from importlib.util import find_spec

    found = find_spec("fedstream.pipelines")
    folder = Path(found.origin).parent if found and found.origin else Path(__file__).parents[2] / "pipelines"
    return folder / "federated_training" / "pipeline.yaml"


def read_package(path: Path) -> Package:
    """Read a compiled pipeline.

    Raises:
        UsageError: The file cannot be read or is not a compiled pipeline.
    """
    import yaml

    try:
        data = path.read_bytes()
        documents = [document for document in yaml.load_all(data, _safe_loader()) if isinstance(document, dict)]
    except OSError as error:
        raise UsageError(
            f"cannot read the pipeline {str(path)!r}: {error.strerror}; pass a compiled pipeline with --package-file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{str(path)!r} is not YAML ({str(error).splitlines()[0]}); compile the pipeline with kfp"
        ) from error
    try:
        return _package(path, sha256_hex(data), documents)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{str(path)!r} is not a compiled pipeline ({type(error).__name__}: {error}); "
            "compile it with kfp 2.15 or later"
        ) from error


def _safe_loader() -> Any:
    """Return YAML's safe loader, in C if available, which is ten times faster."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _package(path: Path, digest: str, documents: list[dict[str, Any]]) -> Package:
    spec = documents[0]
    executors = spec["deploymentSpec"]["executors"]
    tasks = [
        (name, task)
        for component in [spec["root"], *spec["components"].values()]
        for name, task in component.get("dag", {}).get("tasks", {}).items()
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
        images=tuple(
            sorted({executor["container"]["image"] for executor in executors.values() if "container" in executor})
        ),
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
    """Return the ConfigMaps and Secrets of all pods, each once.

    The clients' Secret is left out: it can grant less than the doctor tries, and it can differ by site. So is that of
    the noise, which only the step that makes it may read.
    """
    found: list[Source] = []
    for executor in platform.values():
        found += [
            source
            for source in _taken(executor)
            if source not in found and source.parameter not in ("", CLIENTS_KEY, NOISE_KEY)
        ]
    return tuple(found)


def _taken(executor: dict[str, Any]) -> Iterator[Source]:
    for kind in ("configMap", "secret"):
        for entry in executor.get(f"{kind}AsEnv", []):
            keys = {pair[f"{kind}Key"]: pair["envVar"] for pair in entry["keyToEnv"]}
            yield Source(kind, _parameter(entry[f"{kind}NameParameter"]), entry.get("optional", False), keys)
        for entry in executor.get(f"{kind}AsVolume", []):
            yield Source(
                kind, _parameter(entry[f"{kind}NameParameter"]), entry.get("optional", False), {}, entry["mountPath"]
            )


def _parameter(reference: dict[str, Any]) -> str:
    """Return the form value with the name; empty if a task of the run determines the name."""
    return "" if "taskOutputParameter" in reference else str(reference["componentInputParameter"]).removeprefix(CHANNEL)
