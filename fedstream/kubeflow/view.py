"""What the cluster's Kubernetes API tells of a submission and Kubeflow's API does not. Where it may not be asked, it is taken to tell nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedstream.errors import FedstreamError
from fedstream.kubeflow.causes import LABEL, causes, task_of, unscheduled
from fedstream.kubeflow.kube import TIMEOUT, explained
from fedstream.kubeflow.nodes import Node
from fedstream.kubeflow.placing import read_nodes

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

WORKFLOWS = {"group": "argoproj.io", "version": "v1alpha1", "plural": "workflows"}


@dataclass(frozen=True)
class View:
    """The view on a cluster.

    Attributes:
        client: of the API of the cluster where Kubeflow runs; absent if there is no way to it.
        namespace: of workflows and pods.
    """

    client: ApiClient | None
    namespace: str

    def lost(self, run_id: str) -> bool:
        """Tell whether there certainly is no workflow of a submission."""
        from kubernetes.client import CustomObjectsApi

        if self.client is None:
            return False
        try:
            with explained(self.client, "list the workflows of a run"):
                found = CustomObjectsApi(self.client).list_namespaced_custom_object(
                    **WORKFLOWS, namespace=self.namespace, label_selector=f"{LABEL}={run_id}", limit=1, _request_timeout=TIMEOUT
                )
        except FedstreamError:
            return False
        return bool(found.get("items") == [])

    def waiting(self, run_id: str) -> list[str]:
        """Return `task waits for a node: reason` of the pods that the scheduler has found none for, each once."""
        from kubernetes.client import CoreV1Api

        if self.client is None:
            return []
        try:
            with explained(self.client, "list the pods of a run"):
                pods = CoreV1Api(self.client).list_namespaced_pod(
                    self.namespace, label_selector=f"{LABEL}={run_id}", field_selector="status.phase=Pending", _request_timeout=TIMEOUT
                )
        except FedstreamError:
            return []
        return sorted({f"{task_of(pod)} waits for a node: {reason}" for pod in pods.items if (reason := unscheduled(pod))})

    def causes(self, run_id: str) -> list[str]:
        """Return `task: reason` of a submission's first failed pods."""
        return causes(self.client, self.namespace, run_id) if self.client else []

    def nodes(self) -> list[Node]:
        """Return the cluster's nodes; none where they may not be listed."""
        if self.client is None:
            return []
        try:
            return read_nodes(self.client)
        except FedstreamError:
            return []
