"""What the Kubernetes API knows about a submission and Kubeflow's API does not return.

Without permission to read it, the results are empty.
"""

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
    """A view of a cluster.

    Attributes:
        client: Client of the Kubernetes API of the cluster that runs Kubeflow; None if it cannot be reached.
        namespace: Namespace of the workflows and pods.
    """

    client: ApiClient | None
    namespace: str

    def lost(self, run_id: str) -> bool:
        """Return whether a submission certainly has no workflow."""
        from kubernetes.client import CustomObjectsApi

        if self.client is None:
            return False
        try:
            with explained(self.client, "list the workflows of a run"):
                found = CustomObjectsApi(self.client).list_namespaced_custom_object(
                    **WORKFLOWS,
                    namespace=self.namespace,
                    label_selector=f"{LABEL}={run_id}",
                    limit=1,
                    _request_timeout=TIMEOUT,
                )
        except FedstreamError:
            return False
        return bool(found.get("items") == [])

    def waiting(self, run_id: str) -> list[str]:
        """Return `task waits for a node: reason` for the pods that the scheduler has found no node for, each once."""
        from kubernetes.client import CoreV1Api

        if self.client is None:
            return []
        try:
            with explained(self.client, "list the pods of a run"):
                pods = CoreV1Api(self.client).list_namespaced_pod(
                    self.namespace,
                    label_selector=f"{LABEL}={run_id}",
                    field_selector="status.phase=Pending",
                    _request_timeout=TIMEOUT,
                )
        except FedstreamError:
            return []
        return sorted(
            {f"{task_of(pod)} waits for a node: {reason}" for pod in pods.items if (reason := unscheduled(pod))}
        )

    def causes(self, run_id: str) -> list[str]:
        """Return `task: reason` for the first failed pods of a submission."""
        return causes(self.client, self.namespace, run_id) if self.client else []

    def nodes(self) -> list[Node]:
        """Return the nodes of the cluster; empty if the caller is not allowed to list them."""
        if self.client is None:
            return []
        try:
            return read_nodes(self.client)
        except FedstreamError:
            return []
