"""Read resources of a Kubernetes cluster, and what the caller is allowed to do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedstream.errors import ClusterError
from fedstream.kubeflow.kube import TIMEOUT, explained

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FORBIDDEN, NOT_FOUND = 403, 404


def allowed(client: ApiClient, namespace: str, verb: str, resource: str, subresource: str) -> bool:
    """Return whether the caller has a permission in a namespace.

    Raises:
        ClusterError: The API server does not answer.
    """
    from kubernetes.client import AuthorizationV1Api

    wanted = {"namespace": namespace, "verb": verb, "resource": resource, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wanted},
    }
    with explained(client, "review your permissions"):
        answer = AuthorizationV1Api(client).create_self_subject_access_review(review, _request_timeout=TIMEOUT)
    return bool(answer.status.allowed)


def read_resource(client: ApiClient, kind: str, name: str, namespace: str = "") -> Any:
    """Return a resource; None if it does not exist.

    Args:
        client: Client of the API server.
        kind: `namespace`, `config_map` or `secret`.
        name: Name of the resource.
        namespace: Namespace that contains it; empty for a namespace itself.

    Raises:
        ClusterError: The API server does not answer, or the caller must not read the resource.
    """
    from kubernetes.client import CoreV1Api

    api = CoreV1Api(client)
    try:
        with explained(client, f"read {kind.replace('_', ' ')} {name!r}"):
            if not namespace:
                return api.read_namespace(name, _request_timeout=TIMEOUT)
            return getattr(api, f"read_namespaced_{kind}")(name, namespace, _request_timeout=TIMEOUT)
    except ClusterError as error:
        if status_of(error) == NOT_FOUND:
            return None
        raise


def status_of(error: ClusterError) -> int:
    """Return the HTTP status that caused an error; 0 if there is none."""
    return int(getattr(error.__cause__, "status", 0) or 0)
