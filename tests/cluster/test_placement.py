"""Which nodes the pods of training tasks land on. The GPUs are numbers; the node with gpushare has no kubelet."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from support.kubernetes_api import items, kubectl, until
from support.task_jobs import CompiledTasks

GPUSHARE = "aliyun.com/gpu-mem"


@pytest.fixture
def place(overlay) -> Iterator[Any]:
    """Start a pod of local_train with a placement; it only waits, so that it holds what it asked for."""
    started: list[str] = []

    def start(placement: dict[str, Any]) -> str:
        name = f"placed-{uuid.uuid4().hex[:8]}"
        job = CompiledTasks().job(name, "local-train", {}, placement)
        pod = job["spec"]["template"]["spec"]
        pod["terminationGracePeriodSeconds"] = 0
        pod["containers"][0] |= {"command": ["sleep"], "args": ["120"]}
        kubectl("-n", overlay.namespace, "create", "-f", "-", stdin=json.dumps(job))
        started.append(name)
        return name

    yield start
    kubectl("-n", overlay.namespace, "delete", "job", *started, "--cascade=foreground")


def test_gpu_clients_land_on_the_node_with_gpus_and_one_too_many_waits(overlay, place) -> None:
    capacity = {
        node["metadata"]["name"]: int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in items("nodes")
    }
    with_gpus = [name for name, count in capacity.items() if count == 2]
    assert len(with_gpus) == 1, f"these tests want one node with two GPUs: {capacity}"
    placement = {"gpu_type": "nvidia.com/gpu", "gpu_count": 1}

    two = [place(placement), place(placement)]
    for name in two:
        until(f"{name} runs", lambda name=name: _pod(overlay, name)["status"]["phase"] == "Running")
    third = place(placement)

    assert [_pod(overlay, name)["spec"]["nodeName"] for name in two] == with_gpus * 2
    until("the third is refused a node", lambda: "Insufficient nvidia.com/gpu" in _unschedulable(overlay, third))


def test_gpushare_client_lands_on_the_labelled_node(overlay, place) -> None:
    shared = [node for node in items("nodes", "-l", "gpushare=true") if GPUSHARE in node["status"]["allocatable"]]
    assert len(shared) == 1, "these tests want one node with label gpushare=true and aliyun.com/gpu-mem"
    tolerations = [
        {"key": taint["key"], "value": taint["value"], "effect": taint["effect"]}
        for taint in shared[0]["spec"].get("taints", [])
    ]

    name = place(
        {"node_selector": {"gpushare": "true"}, "tolerations": tolerations, "gpu_type": GPUSHARE, "gpu_count": 4}
    )

    assert (
        until(f"{name} is placed", lambda: _pod(overlay, name)["spec"].get("nodeName")) == shared[0]["metadata"]["name"]
    )


def _pod(overlay, job: str) -> Any:
    return until(f"{job} has a pod", lambda: items("-n", overlay.namespace, "pods", "-l", f"job-name={job}"))[0]


def _unschedulable(overlay, job: str) -> str:
    conditions = _pod(overlay, job)["status"].get("conditions", [])
    return "".join(condition.get("message", "") for condition in conditions if condition["type"] == "PodScheduled")
