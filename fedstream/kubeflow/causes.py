"""Why a submission failed or waits, as its pods show; Kubeflow's API only says which tasks did.

This needs permission to read the pods and their logs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fedstream.errors import FedstreamError
from fedstream.kubeflow.kube import TIMEOUT, explained
from fedstream.steps.runtime import FAILED, REFUSED

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, V1Pod

LABEL = "pipeline/runid"
"""Kubeflow's label with the ID of the run, on workflows and pods."""

MAIN = "main"
"""Name of the container that runs the step; the pod's other containers are Argo's."""

SHOWN, LINES, WIDTH = 3, 100, 300
"""Number of pods that are reported, lines read from the log of each, and characters shown of a line."""


def causes(client: ApiClient, namespace: str, run_id: str) -> list[str]:
    """Return `task: reason` for the first failed pods of a submission; empty if they cannot be read or no longer exist.

    Args:
        client: Client of the Kubernetes API.
        namespace: Namespace of the pods.
        run_id: KFP's ID of the submission.
    """
    from kubernetes.client import CoreV1Api

    api = CoreV1Api(client)
    try:
        with explained(client, "list the pods of a run"):
            pods = api.list_namespaced_pod(
                namespace, label_selector=f"{LABEL}={run_id}", _request_timeout=TIMEOUT
            ).items
            failed = sorted(
                (pod for pod in pods if pod.status.phase == "Failed"), key=lambda pod: pod.metadata.creation_timestamp
            )
            return [f"{task_of(pod)}: {_reason(api, namespace, pod)}" for pod in failed[:SHOWN]]
    except FedstreamError:
        return []


def task_of(pod: V1Pod) -> str:
    """Return the name of a pod's task in the pipeline, which is the last part of the path that Argo calls it."""
    path = (pod.metadata.annotations or {}).get("workflows.argoproj.io/node-name", pod.metadata.name)
    names = [name for name in re.sub(r"\([0-9:]+\)", "", path).split(".") if name != "executor"]
    return names[-1] if names else str(pod.metadata.name)


def unscheduled(pod: V1Pod) -> str:
    """Return why the scheduler has found no node for a pod; empty if it found one or has not tried yet."""
    conditions = pod.status.conditions or []
    return next(
        (" ".join(str(c.message).split()) for c in conditions if c.type == "PodScheduled" and c.status == "False"), ""
    )


def _reason(api: Any, namespace: str, pod: V1Pod) -> str:
    """Return why a pod failed: why it was killed, the step's own reason, or the last line of its log."""
    status = next((status for status in pod.status.container_statuses or [] if status.name == MAIN), None)
    ended = status.state.terminated if status and status.state else None
    if pod.status.reason:  # evicted, or past its deadline: there is no log in these cases
        return " ".join(f"{pod.status.reason}: {pod.status.message or ''}".split())
    if ended and ended.reason == "OOMKilled":
        return "it was killed because it used more memory than its limit"
    answer = api.read_namespaced_pod_log(
        pod.metadata.name, namespace, container=MAIN, tail_lines=LINES, _preload_content=False, _request_timeout=TIMEOUT
    )
    said = last_words(answer.data.decode("utf-8", "replace"))
    return said or (f"exit code {ended.exit_code}" if ended else "it ended without any output")


def last_words(log: str) -> str:
    """Return the reason that a step logged, or else the last line of its log that is not Argo's."""
    lines = log.splitlines()
    for mark in (REFUSED, FAILED):
        if reasons := [line.split(mark, 1)[1].strip() for line in lines if mark in line]:
            return reasons[-1]
    words = [
        line.strip()
        for line in lines
        if line.strip() and "argo=true" not in line and not line.startswith("Error: exit status")
    ]
    return f"... {words[-1][-WIDTH:]}" if words and len(words[-1]) > WIDTH else "".join(words[-1:])
