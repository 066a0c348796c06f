"""Nodes that offer GPUs, and whether a placement fits one. Pure: what the Kubernetes API said goes in, words come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedstream.record.spec import Placement

if TYPE_CHECKING:
    from kubernetes.client import V1Node, V1Pod

ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Node:
    """A node as placement sees it.

    Attributes:
        name: of the node.
        labels: that a selector may ask for.
        taints: (key, value, effect) of those that keep pods away.
        gpus: resource -> how many it offers: whole GPUs, MIG slices, gpushare memory.
        free: resource -> how many of them no pod has asked for.
        closed: why no new pod goes there; empty if pods do.
    """

    name: str
    labels: dict[str, str]
    taints: tuple[tuple[str, str, str], ...]
    gpus: dict[str, int]
    free: dict[str, int]
    closed: str

    def __str__(self) -> str:
        offers = ", ".join(f"{count} {resource} ({self.free[resource]} free)" for resource, count in sorted(self.gpus.items()))
        return f"{self.name} has {offers}{f', but {self.closed}' if self.closed else ''}"


def nodes_of(nodes: Iterable[V1Node], pods: Iterable[V1Pod]) -> list[Node]:
    """Return the nodes, with what the pods on them have taken."""
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
    gpus = {resource: whole(count) for resource, count in (node.status.allocatable or {}).items() if is_gpu(resource) and whole(count)}
    taints = tuple((taint.key, taint.value or "", taint.effect) for taint in node.spec.taints or [] if taint.effect != "PreferNoSchedule")
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions or [])
    closed = "it is cordoned" if node.spec.unschedulable else "" if ready else "it is not ready"
    free = {resource: max(0, count - taken[name, resource]) for resource, count in gpus.items()}
    return Node(name, dict(node.metadata.labels or {}), taints, gpus, free, closed)


def is_gpu(resource: str) -> bool:
    """Tell whether a resource is a GPU, a slice of one, or its memory."""
    return "/" in resource and ("gpu" in resource or "/mig-" in resource)


def whole(quantity: Any) -> int:
    """Return an extended resource's count; Kubernetes allows whole ones only."""
    from kubernetes.utils import parse_quantity

    return int(parse_quantity(quantity))


def misfit(placement: Placement, node: Node) -> str:
    """Return why a pod of this placement does not go to a node; empty if it may."""
    for key, value in placement.node_selector.items():
        if node.labels.get(key) != value:
            return f"its label {key} is {node.labels[key]!r}, not {value!r}" if key in node.labels else f"it has no label {key}={value}"
    if placement.gpu_type and node.gpus.get(placement.gpu_type, 0) < placement.gpu_count:
        return f"it offers {node.gpus.get(placement.gpu_type, 0)} {placement.gpu_type}, not {placement.gpu_count}"
    for key, value, effect in node.taints:
        if not any(tolerates(toleration, key, value, effect) for toleration in placement.tolerations):
            return f"its taint {key}{f'={value}' if value else ''}:{effect} is not tolerated"
    return node.closed


def tolerates(toleration: dict[str, Any], key: str, value: str, effect: str) -> bool:
    """Tell whether a toleration, as in a pod's YAML, tolerates a taint."""
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return not toleration.get("key") or toleration["key"] == key
    return bool(toleration.get("key") == key and (toleration.get("value") or "") == value)
