"""Nodes, their GPUs, and whether a placement fits a node. Pure functions of what the Kubernetes API returned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedstream.record.placement import Placement

if TYPE_CHECKING:
    from kubernetes.client import V1Node, V1Pod

ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Node:
    """The properties of a node that matter to placement.

    Attributes:
        name: Name of the node.
        labels: Labels of the node.
        taints: (key, value, effect) of the taints that keep pods away.
        gpus: Resource -> number that the node offers: whole GPUs, MIG slices, or units of gpushare memory.
        free: Resource -> number that no pod has requested.
        closed: Why the node accepts no new pods; empty if it does.
    """

    name: str
    labels: dict[str, str]
    taints: tuple[tuple[str, str, str], ...]
    gpus: dict[str, int]
    free: dict[str, int]
    closed: str

    def __str__(self) -> str:
        offers = ", ".join(
            f"{count} {resource} ({self.free[resource]} free)" for resource, count in sorted(self.gpus.items())
        )
        return f"{self.name} has {offers}{f', but {self.closed}' if self.closed else ''}"


def nodes_of(nodes: Iterable[V1Node], pods: Iterable[V1Pod]) -> list[Node]:
    """Return the nodes, with the resources that their pods leave free."""
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ENDED:
            for container in pod.spec.containers:
                for resource, count in ((container.resources and container.resources.limits) or {}).items():
                    if is_gpu(resource):
                        taken[pod.spec.node_name, resource] += whole(count)
    return [_node(node, taken) for node in nodes]


def _node(node: V1Node, taken: dict[tuple[str, str], int]) -> Node:
    name = node.metadata.name
    gpus = {
        resource: whole(count)
        for resource, count in (node.status.allocatable or {}).items()
        if is_gpu(resource) and whole(count)
    }
    taints = tuple(
        (taint.key, taint.value or "", taint.effect)
        for taint in node.spec.taints or []
        if taint.effect != "PreferNoSchedule"
    )
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions or [])
    closed = "it is cordoned" if node.spec.unschedulable else "" if ready else "it is not ready"
    free = {resource: max(0, count - taken[name, resource]) for resource, count in gpus.items()}
    return Node(name, dict(node.metadata.labels or {}), taints, gpus, free, closed)


def is_gpu(resource: str) -> bool:
    """Return whether a resource is a GPU, a slice of one, or GPU memory."""
    return "/" in resource and ("gpu" in resource or "/mig-" in resource)


def whole(quantity: Any) -> int:
    """Return the quantity of an extended resource, which Kubernetes requires to be an integer."""
    from kubernetes.utils import parse_quantity

    return int(parse_quantity(quantity))


def misfit(placement: Placement, node: Node) -> str:
    """Return why a pod with this placement cannot be scheduled to a node; empty if it can."""
    for key, value in placement.node_selector.items():
        if node.labels.get(key) != value:
            return (
                f"its label {key} is {node.labels[key]!r}, not {value!r}"
                if key in node.labels
                else f"it has no label {key}={value}"
            )
    if placement.gpu_type and node.gpus.get(placement.gpu_type, 0) < placement.gpu_count:
        return f"it offers {node.gpus.get(placement.gpu_type, 0)} {placement.gpu_type}, not {placement.gpu_count}"
    for key, value, effect in node.taints:
        if not any(tolerates(toleration, key, value, effect) for toleration in placement.tolerations):
            return f"its taint {key}{f'={value}' if value else ''}:{effect} is not tolerated"
    return node.closed


def tolerates(toleration: dict[str, Any], key: str, value: str, effect: str) -> bool:
    """Return whether a toleration, in the form of a pod's YAML, tolerates a taint."""
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or toleration["key"] == key
    return bool(toleration.get("key") == key and (toleration.get("value") or "") == value)
