"""Three ways to the API of Kubeflow Pipelines: an address, a pod's own cluster, or the Kubernetes API server's proxy.

The proxy of the API server stands for a port-forward: it takes the kubeconfig's credentials, each request is on its own, no port is opened on
this machine, and nothing is left to close.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fedstream.errors import UsageError
from fedstream.kubeflow.kube import configure, kube_client, pod_client

if TYPE_CHECKING:
    from kfp_server_api import ApiClient, Configuration
    from kubernetes.client import ApiClient as KubeClient

SERVICE, PORT = "ml-pipeline", 8888
"""The API's Kubernetes service in every release of Kubeflow Pipelines."""

TOKEN_PATH = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105
"""Where Kubeflow's PodDefaults project a token, if KF_PIPELINES_SA_TOKEN_PATH names no other place."""


@dataclass(frozen=True)
class Connection:
    """A way to the API.

    Attributes:
        client: the generated client.
        where: the address, for messages.
        ui: address of the web interface, as KF_PIPELINES_UI_ENDPOINT names it; empty if it does not.
        absent: what to do when the API is not there.
        rejected: what to do when it does not know the caller.
        kube: client of the Kubernetes API of the same cluster; absent on the way by an address, which may lead anywhere.
        namespace: of Kubeflow Pipelines, where the pods are if Kubeflow has no profiles.
    """

    client: ApiClient
    where: str
    ui: str
    absent: str
    rejected: str
    kube: KubeClient | None = None
    namespace: str = ""


def connect(
    host: str = "",
    token_file: Path | None = None,
    ca_file: Path | None = None,
    kubeflow_namespace: str = "kubeflow",
    env: Mapping[str, str] | None = None,
) -> Connection:
    """Choose the way: an address if one is given, else from a pod straight to the service, else through the kubeconfig.

    Args:
        host: `https://kubeflow.example.com/pipeline`; empty for KF_PIPELINES_ENDPOINT, if that is set.
        token_file: file of the token; absent for the variable KFP_TOKEN, or none.
        ca_file: PEM file of the certificate authority.
        kubeflow_namespace: where Kubeflow Pipelines is installed.
        env: the environment; this process' own by default.

    Raises:
        UsageError: an address or a file cannot be.
        ClusterError: there is no kubeconfig either.
    """
    env = os.environ if env is None else env
    host = (host or env.get("KF_PIPELINES_ENDPOINT", "")).rstrip("/")
    ui = env.get("KF_PIPELINES_UI_ENDPOINT", "").rstrip("/")
    if host:
        return _at(host, ui, token_file, ca_file, env.get("KFP_TOKEN", ""))
    if token_file or ca_file:
        raise UsageError("--token-file and --ca-file go with --host; without it the kubeconfig's credentials are used")
    if env.get("KUBERNETES_SERVICE_HOST"):
        return _inside(kubeflow_namespace, ui, env)
    return _proxied(kubeflow_namespace, ui)


def _at(host: str, ui: str, token_file: Path | None, ca_file: Path | None, token: str) -> Connection:
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--host is {host!r}; expected http://... or https://..., such as https://kubeflow.example.com/pipeline")
    configuration = _configuration(host)
    if ca_file:
        if not ca_file.is_file():
            raise UsageError(f"--ca-file is {str(ca_file)!r}, and there is no such file")
        configuration.ssl_ca_cert = str(ca_file)
    if token_file:
        _use_token_file(configuration, token_file, "--token-file")
    elif token:
        configuration.api_key, configuration.api_key_prefix = {"authorization": token.strip()}, {"authorization": "Bearer"}
    advice = "give a token that is valid in KFP_TOKEN, or the name of its file with --token-file"
    return _connection(
        configuration, host, ui, "check --host: it must be the address of Kubeflow Pipelines, where /apis/v2beta1/healthz answers", advice
    )


def _inside(namespace: str, ui: str, env: Mapping[str, str]) -> Connection:
    host = f"http://{SERVICE}.{namespace}:{PORT}"
    configuration = _configuration(host)
    path = Path(env.get("KF_PIPELINES_SA_TOKEN_PATH") or TOKEN_PATH)
    if env.get("KF_PIPELINES_SA_TOKEN_PATH") or path.is_file():
        _use_token_file(configuration, path, "KF_PIPELINES_SA_TOKEN_PATH")
    advice = "project a service account token for the audience pipelines.kubeflow.org into this pod and set KF_PIPELINES_SA_TOKEN_PATH to its path"
    absent = "name the namespace of Kubeflow Pipelines with --kubeflow-namespace"
    return _connection(configuration, host, ui, absent, advice, pod_client(), namespace)


def _proxied(namespace: str, ui: str) -> Connection:
    configuration, kube = _configuration(""), kube_client()
    server = configure(configuration)
    _stay_at(configuration, f"{server}/api/v1/namespaces/{namespace}/services/{SERVICE}:{PORT}/proxy")
    advice = "multi-user Kubeflow takes no kubeconfig: name its address with --host, and give a token in KFP_TOKEN"
    absent = "name the namespace of Kubeflow Pipelines with --kubeflow-namespace, or its address with --host"
    return _connection(configuration, f"{server}, service {SERVICE} in namespace {namespace}", ui, absent, advice, kube, namespace)


def _configuration(host: str) -> Configuration:
    from kfp_server_api import Configuration

    configuration = Configuration(host=host)
    configuration.client_side_validation = False  # a server that is newer than this client may know more states
    configuration.retries = False  # the calls are tried again where they are made
    return configuration


def _connection(
    configuration: Configuration, where: str, ui: str, absent: str, rejected: str, kube: KubeClient | None = None, namespace: str = ""
) -> Connection:
    from kfp_server_api import ApiClient

    return Connection(ApiClient(configuration), where, ui, absent, rejected, kube, namespace)


def _stay_at(configuration: Configuration, host: str) -> None:
    """Set the address, and again whenever the kubeconfig's token is looked at: that sets the API server's."""
    configuration.host, refresh = host, configuration.refresh_api_key_hook

    def refresh_and_stay(_: object) -> None:
        refresh(configuration)
        configuration.host, configuration.refresh_api_key_hook = host, refresh_and_stay

    if refresh:
        configuration.refresh_api_key_hook = refresh_and_stay


def _use_token_file(configuration: Configuration, path: Path, said: str) -> None:
    """Read the token at every request, since projected tokens are replaced every hour."""

    def read(_: object = None) -> None:
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{said} is {str(path)!r}, which cannot be read ({error}); name the file that holds the token") from error
        configuration.api_key["authorization"] = token

    configuration.api_key, configuration.api_key_prefix = {}, {"authorization": "Bearer"}
    read()
    configuration.refresh_api_key_hook = read
