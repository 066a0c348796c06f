"""Connect to the API of Kubeflow Pipelines by its address, from a pod, or through the Kubernetes API server's proxy.

The API server's proxy replaces a port-forward: it uses the kubeconfig's credentials, each request is independent, no
port is opened on this machine, and nothing needs to be closed.
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
"""Name and port of the API's Service in every release of Kubeflow Pipelines."""

TOKEN_PATH = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105
"""Path at which Kubeflow's PodDefaults project a token, unless KF_PIPELINES_SA_TOKEN_PATH is set to another."""


@dataclass(frozen=True)
class Connection:
    """A connection to the API.

    Attributes:
        client: The generated client.
        where: Address of the API, for messages.
        ui: Address of the web interface from KF_PIPELINES_UI_ENDPOINT; empty if that is not set.
        absent: What to do if the API cannot be found.
        rejected: What to do if the API does not accept the caller.
        kube: Client of the Kubernetes API of the same cluster; None if the API was given by its address, which can
            belong to any cluster.
        namespace: Namespace of Kubeflow Pipelines, where the pods run if Kubeflow has no profiles.
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
    """Connect to an address if one is given, else directly to the Service if in a pod, else through the kubeconfig.

    Args:
        host: Address such as `https://kubeflow.example.com/pipeline`; empty for KF_PIPELINES_ENDPOINT, if that is set.
        token_file: File with the token; None to use the variable KFP_TOKEN, or no token.
        ca_file: PEM file with the certificate of the certificate authority.
        kubeflow_namespace: Namespace in which Kubeflow Pipelines is installed.
        env: Environment variables; those of this process by default.

    Raises:
        UsageError: The address or a file is invalid.
        ClusterError: No address is given, this is not a pod, and there is no usable kubeconfig.
    """
    env = os.environ if env is None else env
    host = (host or env.get("KF_PIPELINES_ENDPOINT", "")).rstrip("/")
    ui = env.get("KF_PIPELINES_UI_ENDPOINT", "").rstrip("/")
    if host:
        return _at(host, ui, token_file, ca_file, env.get("KFP_TOKEN", ""))
    if token_file or ca_file:
        raise UsageError(
            "--token-file and --ca-file require --host; without --host the kubeconfig's credentials are used"
        )
    if env.get("KUBERNETES_SERVICE_HOST"):
        return _inside(kubeflow_namespace, ui, env)
    return _proxied(kubeflow_namespace, ui)


def _at(host: str, ui: str, token_file: Path | None, ca_file: Path | None, token: str) -> Connection:
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"--host is {host!r}; expected http://... or https://..., such as https://kubeflow.example.com/pipeline"
        )
    configuration = _configuration(host)
    if ca_file:
        if not ca_file.is_file():
            raise UsageError(f"--ca-file is {str(ca_file)!r}, which does not exist; pass the path of a PEM file")
        configuration.ssl_ca_cert = str(ca_file)
    if token_file:
        _use_token_file(configuration, token_file, "--token-file")
    elif token:
        configuration.api_key, configuration.api_key_prefix = (
            {"authorization": token.strip()},
            {"authorization": "Bearer"},
        )
    advice = "set KFP_TOKEN to a valid token, or pass the token's file with --token-file"
    return _connection(
        configuration,
        host,
        ui,
        "check --host: it must be the address of Kubeflow Pipelines, where /apis/v2beta1/healthz answers",
        advice,
    )


def _inside(namespace: str, ui: str, env: Mapping[str, str]) -> Connection:
    host = f"http://{SERVICE}.{namespace}:{PORT}"
    configuration = _configuration(host)
    path = Path(env.get("KF_PIPELINES_SA_TOKEN_PATH") or TOKEN_PATH)
    if env.get("KF_PIPELINES_SA_TOKEN_PATH") or path.is_file():
        _use_token_file(configuration, path, "KF_PIPELINES_SA_TOKEN_PATH")
    advice = (
        "project a service account token for the audience pipelines.kubeflow.org into this pod and set "
        "KF_PIPELINES_SA_TOKEN_PATH to its path"
    )
    absent = "set the namespace of Kubeflow Pipelines with --kubeflow-namespace"
    return _connection(configuration, host, ui, absent, advice, pod_client(), namespace)


def _proxied(namespace: str, ui: str) -> Connection:
    configuration, kube = _configuration(""), kube_client()
    server = configure(configuration)
    _stay_at(configuration, f"{server}/api/v1/namespaces/{namespace}/services/{SERVICE}:{PORT}/proxy")
    advice = (
        "multi-user Kubeflow does not accept kubeconfig credentials: set its address with --host and a "
        "token in KFP_TOKEN"
    )
    absent = "set the namespace of Kubeflow Pipelines with --kubeflow-namespace, or its address with --host"
    return _connection(
        configuration, f"{server}, service {SERVICE} in namespace {namespace}", ui, absent, advice, kube, namespace
    )


def _configuration(host: str) -> Configuration:
    from kfp_server_api import Configuration

    configuration = Configuration(host=host)
    configuration.client_side_validation = False  # a newer server can return states that this client does not know
    configuration.retries = False  # PipelinesApi retries its calls itself
    return configuration


def _connection(
    configuration: Configuration,
    where: str,
    ui: str,
    absent: str,
    rejected: str,
    kube: KubeClient | None = None,
    namespace: str = "",
) -> Connection:
    from kfp_server_api import ApiClient

    return Connection(ApiClient(configuration), where, ui, absent, rejected, kube, namespace)


def _stay_at(configuration: Configuration, host: str) -> None:
    """Set the address, and set it again whenever a refresh of the kubeconfig's token resets it to the API server's."""
    configuration.host, refresh = host, configuration.refresh_api_key_hook

    def refresh_and_stay(_: object) -> None:
        refresh(configuration)
        configuration.host, configuration.refresh_api_key_hook = host, refresh_and_stay

    if refresh:
        configuration.refresh_api_key_hook = refresh_and_stay


def _use_token_file(configuration: Configuration, path: Path, said: str) -> None:
    """Read the token for every request, because projected tokens are replaced every hour."""

    def read(_: object = None) -> None:
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{said} is {str(path)!r}, which cannot be read ({error}); set it to the file that contains the token"
            ) from error
        configuration.api_key["authorization"] = token

    configuration.api_key, configuration.api_key_prefix = {}, {"authorization": "Bearer"}
    read()
    configuration.refresh_api_key_hook = read
