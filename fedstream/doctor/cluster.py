"""A doctor's checks of a Kubernetes cluster: rights, config map, secrets, images, GPU nodes, Kubeflow Pipelines."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fedstream.doctor.checks import Check, Finding, SkippedError, is_named
from fedstream.doctor.probe import PARTS, Probe
from fedstream.errors import ClusterError, SettingsError
from fedstream.kubeflow.kube import TIMEOUT, explained, kube_client
from fedstream.kubeflow.nodes import Node
from fedstream.kubeflow.package import Package, Source
from fedstream.kubeflow.placing import fitting, read_nodes
from fedstream.record.spec import Placement
from fedstream.settings import START_HINT, KafkaSettings, StoreSettings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

OLDEST_KUBEFLOW = (2, 15)

FORBIDDEN, NOT_FOUND = 403, 404

NEEDED = (
    ("get", "configmaps", ""),
    ("get", "secrets", ""),
    ("create", "pods", ""),
    ("get", "pods", ""),
    ("get", "pods", "log"),
    ("delete", "pods", ""),
)
"""Rights in the namespace that the checks need: verb, resource, subresource."""

APPLY = "make it with `kubectl apply -k kustomize/local-kubeflow` or kustomize/existing"


@dataclass(frozen=True)
class ClusterOptions:
    """What is looked at.

    Attributes:
        namespace: where the pipeline's pods run.
        kubeflow_namespace: where Kubeflow Pipelines is installed.
        package: the compiled pipeline.
        names: form value -> name of the config map or secret.
        images: to pull.
        placement: that must fit a node; absent for none.
        until: when time is up, by the monotonic clock.
        skip: names of checks to leave out.
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
    return [*checks, Check("pod", look.pod, there, PARTS)]  # last, since it may take all the time there is


class Cluster:
    """One cluster; asks it each thing once.

    Args:
        options: what is looked at.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self.options = options
        self._environment: dict[str, str] = {}
        self._secrets: dict[str, dict[str, str]] = {}

    @cached_property
    def client(self) -> ApiClient:
        return kube_client()

    def version(self) -> str:
        """Say which Kubernetes answers."""
        from kubernetes.client import VersionApi

        with explained(self.client, "say its version"):
            found = VersionApi(self.client).get_code(_request_timeout=TIMEOUT)
        return f"{found.git_version} at {self.client.configuration.host}"

    def permissions(self) -> str:
        """Ask which of the needed rights the caller lacks."""
        missing = [f"{verb} {resource}{f'/{sub}' if sub else ''}" for verb, resource, sub in NEEDED if not self._may(verb, resource, sub)]
        if missing:
            raise ClusterError(
                f"you may not {', '.join(missing)} in namespace {self.options.namespace!r}; ask the cluster's owner for a role with these rights"
            )
        return f"all that these checks need in namespace {self.options.namespace!r}"

    def _may(self, verb: str, resource: str, subresource: str) -> bool:
        from kubernetes.client import AuthorizationV1Api

        wanted = {"namespace": self.options.namespace, "verb": verb, "resource": resource, "subresource": subresource}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": wanted}}
        with explained(self.client, "say what you may do"):
            answer = AuthorizationV1Api(self.client).create_self_subject_access_review(review, _request_timeout=TIMEOUT)
        return bool(answer.status.allowed)

    def namespace(self) -> str:
        """Find the namespace of the pods."""
        name = self.options.namespace
        try:
            found = self._read("namespace", name)
        except ClusterError as error:
            if _status(error) == FORBIDDEN:
                return f"you may not look at {name} itself; it is taken to be there"
            raise
        if found is None:
            raise ClusterError(
                f"there is no namespace {name!r}; name another one with --namespace, or make it with `kubectl apply -k kustomize/local`"
            )
        enforced = (found.metadata.labels or {}).get("pod-security.kubernetes.io/enforce", "nothing")
        return f"{name}, which enforces {enforced} of the pod security standards"

    def config_map(self) -> str:
        """Find the config map, and a variable in it that a step reads."""
        name, read = self._config_map
        found = self._read("config_map", name)
        if found is None:
            raise ClusterError(
                f"there is no config map {name!r} in namespace {self.options.namespace!r}; {APPLY}, or name another one with --config-map"
            )
        values: dict[str, str] = found.data or {}
        self._environment = {variable: values[key] for source in read for key, variable in source.keys.items() if key in values}
        unread = sorted(values.keys() - {key for source in read for key in source.keys})
        empty = sorted(key for key in self._environment if not values[key])
        return f"{name} sets {len(self._environment) - len(empty)} values" + (f"; no step reads {', '.join(unread)}" if unread else "")

    @property
    def _config_map(self) -> tuple[str, list[Source]]:
        sources = [source for source in self.options.package.sources if source.kind == "configMap"]
        if not sources:
            raise SkippedError("the pipeline reads none")
        return self.options.names[sources[0].parameter], sources

    def secret(self, parameter: str) -> str:
        """Find a secret, and the keys in it that the steps read."""
        name = self.options.names[parameter]
        sources = [source for source in self.options.package.sources if source.parameter == parameter]
        found = self._read("secret", name)
        if found is None:
            if all(source.optional for source in sources):
                self._secrets[parameter] = {}
                return "is not there, as it need not be"
            keys = " ".join(f"--from-file={key}" for source in sources for key in source.keys)
            make = f"make it with `kubectl -n {self.options.namespace} create secret generic {name} {keys}`"
            raise ClusterError(
                f"there is no such secret in namespace {self.options.namespace!r}; {make}, or name another one with --{parameter.replace('_', '-')}"
            )
        values = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (found.data or {}).items()}
        self._secrets[parameter] = values
        if missing := [key for source in sources if not source.optional for key in source.keys if not values.get(key)]:
            raise ClusterError(f"it has no key {missing[0]!r}, which the steps read; it has {', '.join(sorted(values)) or 'none'}: add it")
        return f"has {', '.join(sorted(values))}"

    def settings(self) -> str:
        """Read config map and secrets as a step does: whether the values can be, and fit together."""
        env, files = dict(self._environment), {}
        for source in self.options.package.sources:
            values = self._secrets.get(source.parameter, {})
            env |= {variable: values[key] for key, variable in source.keys.items() if source.kind == "secret" and key in values}
            if source.mount_path and source.kind == "secret":
                files = {f"{source.mount_path}/{key}": key for key in values}
        name = self._config_map[0]
        try:
            kafka, store = KafkaSettings.from_env(env), StoreSettings.from_env(env)
        except SettingsError as error:
            said = str(error).replace(f", {START_HINT}", "").replace("environment variable ", "")
            raise SettingsError(f"{said}, in config map {name!r} or the secrets it goes with") from error
        for variable, path in (("KAFKA_CA_FILE", kafka.ca_file), ("KAFKA_CERT_FILE", kafka.cert_file), ("KAFKA_KEY_FILE", kafka.key_file)):
            if path and path not in files:
                has = ", ".join(sorted(files)) or "no file"
                raise SettingsError(
                    f"{variable} is {path!r} in config map {name!r}, but the Kafka secret brings {has}; add the key, or change the path"
                )
        return f"Kafka {kafka.bootstrap_servers} as {kafka.security_protocol}; bucket {store.bucket!r} at {store.endpoint_url}"

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes, with what is free of their GPUs."""
        try:
            return read_nodes(self.client)
        except ClusterError as error:
            if _status(error) == FORBIDDEN:
                raise SkippedError("you may not list nodes and the pods on them; ask somebody who may") from error
            raise

    def gpu_nodes(self) -> str:
        """Say which nodes offer GPUs."""
        offering = [node for node in self.nodes if node.gpus]
        if not offering:
            raise SkippedError(
                f"none of {len(self.nodes)} nodes offers a GPU: clients train on processors; docs/gpu.md tells how nodes come to offer them"
            )
        return "; ".join(map(str, offering))

    def fits(self, placement: Placement) -> str:
        """Find a node for a placement."""
        return f"fits {', '.join(fitting(placement, self.nodes))}"

    def kubeflow(self) -> str:
        """Ask Kubeflow Pipelines for its version, the way `fedstream submit` goes."""
        from fedstream.kubeflow.api import PipelinesApi
        from fedstream.kubeflow.connection import connect

        found = PipelinesApi(connect(kubeflow_namespace=self.options.kubeflow_namespace)).health()
        tag = str(found.get("tag_name") or "unknown")
        version = re.match(r"v?(\d+)\.(\d+)", tag)
        users = "with profiles" if found["multi_user"] else "without profiles"
        if not version:
            raise SkippedError(f"it answers, {users}, but whether it is 2.15 or later, as it must be, cannot be told: its version is {tag!r}")
        if (int(version[1]), int(version[2])) < OLDEST_KUBEFLOW:
            raise ClusterError(f"Kubeflow Pipelines {tag} is too old for the compiled pipeline; upgrade it to 2.15 or later")
        return f"Pipelines {tag}, {users}"

    def pod(self) -> list[Finding]:
        """Pull the images, and look from inside."""
        options = self.options
        parts = tuple(part for part in PARTS if not is_named(part, options.skip))
        return Probe(self.client, options.namespace, options.images, options.package, options.names, parts).run(options.until)

    def _read(self, kind: str, name: str) -> Any:
        """Return a namespace, config map or secret; None if there is none."""
        from kubernetes.client import CoreV1Api

        api, where = CoreV1Api(self.client), self.options.namespace
        try:
            with explained(self.client, f"read {kind.replace('_', ' ')} {name!r}"):
                if kind == "namespace":
                    return api.read_namespace(name, _request_timeout=TIMEOUT)
                return getattr(api, f"read_namespaced_{kind}")(name, where, _request_timeout=TIMEOUT)
        except ClusterError as error:
            if _status(error) == NOT_FOUND:
                return None
            raise


def _status(error: ClusterError) -> int:
    """Return the HTTP status behind an error; 0 if there is none."""
    return int(getattr(error.__cause__, "status", 0) or 0)
