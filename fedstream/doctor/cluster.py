"""The checks of a Kubernetes cluster: permissions, ConfigMap, Secrets, images, GPU nodes and Kubeflow Pipelines."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from fedstream.doctor.checks import Check, Finding, SkippedError, is_named
from fedstream.doctor.probe import PARTS, Probe
from fedstream.doctor.resources import FORBIDDEN, allowed, read_resource, status_of
from fedstream.errors import ClusterError, SettingsError
from fedstream.kubeflow.kube import TIMEOUT, explained, kube_client
from fedstream.kubeflow.nodes import Node
from fedstream.kubeflow.package import Package, Source
from fedstream.kubeflow.placing import fitting, read_nodes
from fedstream.record.placement import Placement
from fedstream.settings import START_HINT, KafkaSettings, StoreSettings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

OLDEST_KUBEFLOW = (2, 15)

NEEDED = (
    ("get", "configmaps", ""),
    ("get", "secrets", ""),
    ("create", "pods", ""),
    ("get", "pods", ""),
    ("get", "pods", "log"),
    ("delete", "pods", ""),
)
"""Permissions in the namespace that the checks need: verb, resource, subresource."""

APPLY = "create it with `kubectl apply -k kustomize/local-kubeflow` or kustomize/existing"


@dataclass(frozen=True)
class ClusterOptions:
    """What to check in a cluster.

    Attributes:
        namespace: Namespace of the pipeline's pods.
        kubeflow_namespace: Namespace in which Kubeflow Pipelines is installed.
        package: The compiled pipeline.
        names: Form value -> name of the ConfigMap or Secret.
        images: Images to pull.
        placement: Placement that must fit a node; None to skip that check.
        until: End of the time limit on the monotonic clock, in seconds.
        skip: Names of checks to skip.
    """

    namespace: str
    kubeflow_namespace: str
    package: Package
    names: dict[str, str]
    images: tuple[str, ...]
    placement: Placement | None
    until: float
    skip: tuple[str, ...] = ()


def cluster_checks(options: ClusterOptions) -> list[Check]:
    """Return the checks of a cluster."""
    look, reached = Cluster(options), ("kubernetes",)
    there = ("kubernetes", "namespace")
    secrets = sorted({source.parameter for source in options.package.sources if source.kind == "secret"})
    checks = [
        Check("kubernetes", look.version),
        Check("permissions", look.permissions, reached),
        Check("namespace", look.namespace, reached),
        Check("config map", look.config_map, there),
        *(Check(f"secret {options.names[parameter]}", partial(look.secret, parameter), there) for parameter in secrets),
        Check("settings", look.settings, ("config map",)),
        Check("gpu nodes", look.gpu_nodes, reached),
        Check("kubeflow", look.kubeflow, reached),
    ]
    if options.placement:
        checks.append(Check("placement", partial(look.fits, options.placement), reached))
    return [*checks, Check("pod", look.pod, there, PARTS)]  # last, because it can use up the remaining time


class Cluster:
    """The checks of one cluster, which read each resource only once.

    Args:
        options: What to check.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options
        self._environment: dict[str, str] = {}
        self._secrets: dict[str, dict[str, str]] = {}

    @cached_property
    def client(self) -> ApiClient:
        return kube_client()

    def version(self) -> str:
        """Return the version and address of the Kubernetes API server."""
        from kubernetes.client import VersionApi

        with explained(self.client, "report its version"):
            found = VersionApi(self.client).get_code(_request_timeout=TIMEOUT)
        return f"{found.git_version} at {self.client.configuration.host}"

    def permissions(self) -> str:
        """Check that the caller has all permissions that the checks need."""
        missing = [
            f"{verb} {resource}{f'/{sub}' if sub else ''}"
            for verb, resource, sub in NEEDED
            if not allowed(self.client, self.options.namespace, verb, resource, sub)
        ]
        if missing:
            raise ClusterError(
                f"you are not allowed to {', '.join(missing)} in namespace {self.options.namespace!r}; "
                "ask the cluster's administrator for a role with these permissions"
            )
        return f"you have all permissions that these checks need in namespace {self.options.namespace!r}"

    def namespace(self) -> str:
        """Check that the namespace of the pods exists."""
        name = self.options.namespace
        try:
            found = read_resource(self.client, "namespace", name)
        except ClusterError as error:
            if status_of(error) == FORBIDDEN:
                return f"you are not allowed to read {name} itself; it is assumed to exist"
            raise
        if found is None:
            raise ClusterError(
                f"there is no namespace {name!r}; pass another one with --namespace, "
                "or create it with `kubectl apply -k kustomize/local`"
            )
        enforced = (found.metadata.labels or {}).get("pod-security.kubernetes.io/enforce", "none")
        return f"{name}; enforced Pod Security Standard: {enforced}"

    def config_map(self) -> str:
        """Check that the ConfigMap exists, and read the variables that the steps use."""
        name, read = self._config_map
        found = read_resource(self.client, "config_map", name, self.options.namespace)
        if found is None:
            raise ClusterError(
                f"there is no config map {name!r} in namespace {self.options.namespace!r}; {APPLY}, "
                "or pass another one with --config-map"
            )
        values: dict[str, str] = found.data or {}
        self._environment = {
            variable: values[key] for source in read for key, variable in source.keys.items() if key in values
        }
        unread = sorted(values.keys() - {key for source in read for key in source.keys})
        empty = sorted(key for key in self._environment if not values[key])
        return f"{name} sets {len(self._environment) - len(empty)} values" + (
            f"; no step reads {', '.join(unread)}" if unread else ""
        )

    @property
    def _config_map(self) -> tuple[str, list[Source]]:
        sources = [source for source in self.options.package.sources if source.kind == "configMap"]
        if not sources:
            raise SkippedError("the pipeline does not read a config map")
        return self.options.names[sources[0].parameter], sources

    def secret(self, parameter: str) -> str:
        """Check that a Secret exists and has the keys that the steps read."""
        name = self.options.names[parameter]
        sources = [source for source in self.options.package.sources if source.parameter == parameter]
        found = read_resource(self.client, "secret", name, self.options.namespace)
        if found is None:
            if all(source.optional for source in sources):
                self._secrets[parameter] = {}
                return "does not exist; it is optional"
            keys = " ".join(f"--from-file={key}" for source in sources for key in source.keys)
            make = f"create it with `kubectl -n {self.options.namespace} create secret generic {name} {keys}`"
            raise ClusterError(
                f"there is no such secret in namespace {self.options.namespace!r}; {make}, "
                f"or pass another one with --{parameter.replace('_', '-')}"
            )
        values = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (found.data or {}).items()}
        self._secrets[parameter] = values
        if missing := [key for source in sources if not source.optional for key in source.keys if not values.get(key)]:
            raise ClusterError(
                f"it has no key {missing[0]!r}, which the steps read; add it to the keys it has: "
                f"{', '.join(sorted(values)) or 'none'}"
            )
        return f"has {', '.join(sorted(values))}"

    def settings(self) -> str:
        """Read the ConfigMap and the Secrets as a step does, and check that the values are valid and consistent."""
        env, files = dict(self._environment), {}
        for source in self.options.package.sources:
            values = self._secrets.get(source.parameter, {})
            env |= {
                variable: values[key]
                for key, variable in source.keys.items()
                if source.kind == "secret" and key in values
            }
            if source.mount_path and source.kind == "secret":
                files = {f"{source.mount_path}/{key}": key for key in values}
        name = self._config_map[0]
        try:
            kafka, store = KafkaSettings.from_env(env), StoreSettings.from_env(env)
        except SettingsError as error:
            said = str(error).replace(f", {START_HINT}", "").replace("environment variable ", "")
            raise SettingsError(f"{said}, in config map {name!r} or in the secrets that are used with it") from error
        for variable, path in (
            ("KAFKA_CA_FILE", kafka.ca_file),
            ("KAFKA_CERT_FILE", kafka.cert_file),
            ("KAFKA_KEY_FILE", kafka.key_file),
        ):
            if path and path not in files:
                has = ", ".join(sorted(files)) or "no file"
                raise SettingsError(
                    f"{variable} is {path!r} in config map {name!r}, but the Kafka secret provides {has}; "
                    "add the key, or change the path"
                )
        return (
            f"Kafka {kafka.bootstrap_servers} as {kafka.security_protocol}; "
            f"bucket {store.bucket!r} at {store.endpoint_url}"
        )

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes of the cluster, with their free GPUs."""
        try:
            return read_nodes(self.client)
        except ClusterError as error:
            if status_of(error) == FORBIDDEN:
                raise SkippedError(
                    "you are not allowed to list nodes and the pods on them; ask the cluster's administrator"
                ) from error
            raise

    def gpu_nodes(self) -> str:
        """Return the nodes that offer GPUs."""
        offering = [node for node in self.nodes if node.gpus]
        if not offering:
            raise SkippedError(
                f"none of {len(self.nodes)} nodes offers a GPU, so clients train on CPUs; "
                "docs/gpu.md describes how to set up GPU nodes"
            )
        return "; ".join(map(str, offering))

    def fits(self, placement: Placement) -> str:
        """Check that a placement fits a node."""
        return f"fits {', '.join(fitting(placement, self.nodes))}"

    def kubeflow(self) -> str:
        """Check the version of Kubeflow Pipelines, over the same connection as `fedstream submit`."""
        from fedstream.kubeflow.api import PipelinesApi
        from fedstream.kubeflow.connection import connect

        found = PipelinesApi(connect(kubeflow_namespace=self.options.kubeflow_namespace)).health()
        tag = str(found.get("tag_name") or "unknown")
        version = re.match(r"v?(\d+)\.(\d+)", tag)
        users = "with profiles" if found["multi_user"] else "without profiles"
        if not version:
            raise SkippedError(
                f"it answers, {users}, but its version is {tag!r}, so it is not known whether it is 2.15 or "
                "later, which is required"
            )
        if (int(version[1]), int(version[2])) < OLDEST_KUBEFLOW:
            raise ClusterError(
                f"Kubeflow Pipelines {tag} is too old for the compiled pipeline; upgrade it to 2.15 or later"
            )
        return f"Pipelines {tag}, {users}"

    def pod(self) -> list[Finding]:
        """Pull the images in a pod, and check Kafka and the store from there."""
        options = self.options
        parts = tuple(part for part in PARTS if not is_named(part, options.skip))
        return Probe(self.client, options.namespace, options.images, options.package, options.names, parts).run(
            options.until
        )
