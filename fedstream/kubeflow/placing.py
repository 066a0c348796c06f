"""Check that the placements of a run fit the nodes of a cluster, before pods are created that would wait forever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedstream.errors import ClusterError
from fedstream.kubeflow.kube import TIMEOUT, explained
from fedstream.kubeflow.nodes import Node, misfit, nodes_of
from fedstream.record.placement import Placement
from fedstream.record.spec import RunSpec

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

SHOWN = 5
"""Number of nodes for which the message says why they do not fit."""


def read_nodes(client: ApiClient) -> list[Node]:
    """Return the nodes of a cluster, with their free GPUs.

    Raises:
        ClusterError: The caller is not allowed to list nodes and pods, or nothing answers.
    """
    from kubernetes.client import CoreV1Api

    api = CoreV1Api(client)
    with explained(client, "list nodes and pods"):
        return nodes_of(
            api.list_node(_request_timeout=TIMEOUT).items,
            api.list_pod_for_all_namespaces(_request_timeout=TIMEOUT).items,
        )


def fitting(placement: Placement, nodes: Iterable[Node]) -> list[str]:
    """Return the names of the nodes that a placement fits.

    Raises:
        ClusterError: The placement fits no node; the message says why for each node.
    """
    reasons = {node.name: misfit(placement, node) for node in nodes}
    if names := [name for name, reason in reasons.items() if not reason]:
        return names
    why = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:SHOWN])
    raise ClusterError(
        f"it fits no node, so its pods would wait forever ({why}); change the placement, or add or label a node"
    )


def placements(spec: RunSpec) -> list[tuple[str, Placement]]:
    """Return (clients, placement) for each placement that requests anything."""
    named = spec.clients or sorted(spec.sites)
    asked = [] if spec.clients else [("clients without a site of their own", spec.placement)]
    asked += [(client, spec.placement_of(client)) for client in named]
    whose: dict[str, tuple[list[str], Placement]] = {}
    for who, placement in asked:
        whose.setdefault(placement.model_dump_json(), ([], placement))[0].append(who)
    return [(", ".join(names), placement) for names, placement in whose.values() if placement != Placement()]


def compare(spec: RunSpec, nodes: list[Node]) -> tuple[list[str], list[str]]:
    """Return a line for each placement that fits, with the nodes, and a line for each misfit, with the reasons."""
    fits, misfits = [], []
    for who, placement in placements(spec):
        try:
            fits.append(f"placement of {who}: fits {', '.join(fitting(placement, nodes))}")
        except ClusterError as error:
            misfits.append(f"placement of {who}: {error}")
    return fits, misfits
