"""Clients of the Kubernetes API, configured from the kubeconfig or inside a pod, with their errors in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedstream.errors import ClusterAway, ClusterError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

TIMEOUT = (5, 30)
"""Seconds to connect to an API server, and to wait for each part of its answer."""

NO_ACCESS = (
    "there is no kubeconfig, and this is not a pod; set KUBECONFIG, "
    "or create ~/.kube/config as your cluster's provider describes"
)


def configure(configuration: Any) -> str:
    """Configure a client from the kubeconfig, or from the pod this runs in, and return the API server's address.

    Raises:
        ClusterError: There is no kubeconfig and this is not a pod, or the kubeconfig cannot be used.
    """
    import yaml
    from kubernetes import config

    try:
        config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except config.ConfigException as outside:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            said = " ".join(str(outside).split())
            raise ClusterError(
                NO_ACCESS
                if "No configuration found" in said
                else f"the kubeconfig cannot be used: {said}; check KUBECONFIG"
            ) from outside
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ClusterError(
            f"the kubeconfig cannot be used ({type(error).__name__}: {_line(str(error))}); check KUBECONFIG"
        ) from error
    configuration.retries = False
    return str(configuration.host)


def kube_client() -> ApiClient:
    """Return a client of the Kubernetes API, which connects only when it is used."""
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    configure(configuration)
    return ApiClient(configuration)


def pod_client() -> ApiClient | None:
    """Return a client with the permissions of the pod this runs in; None if the pod has no service account token."""
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        return None
    configuration.retries = False
    return ApiClient(configuration)


@contextmanager
def explained(client: ApiClient, what: str) -> Iterator[None]:
    """Translate the client's errors into a ClusterError.

    Args:
        client: The client in use.
        what: The current action, such as `list the nodes`.
    """
    import urllib3
    from kubernetes.client import ApiException

    where = client.configuration.host
    try:
        yield
    except ApiException as error:
        raise ClusterError(
            f"Kubernetes at {where} refuses to {what} (HTTP {error.status}): {message_of(error.body) or error.reason}"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterAway(
            f"Kubernetes at {where} does not answer ({reason_of(error)}); check that the cluster runs and that "
            "KUBECONFIG names it"
        ) from error


def message_of(body: Any) -> str:
    """Return the `message` in the body of an error from Kubernetes or Kubeflow, in one line."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        document = json.loads(text)
    except ValueError:
        return "" if "<html" in text.lower() else _line(text)
    if not isinstance(document, dict):
        return _line(text)
    return _line(str(document.get("message") or document.get("error_message") or document.get("error") or text))


def _line(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= 400 else f"{short[:400]} ..."


def reason_of(error: BaseException) -> str:
    """Return why a connection failed, without the library's own object names."""
    import urllib3

    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its host name is unknown"
    if "refused" in str(error):
        return "connection refused"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):
        return "no answer in time"
    return _line(str(error).rsplit(": ", 1)[-1]) or type(error).__name__
