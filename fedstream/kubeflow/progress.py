"""The progress of a submission, derived from the tasks that Kubeflow Pipelines reports. Makes no requests."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fedstream.kubeflow.package import Package
from fedstream.text import count

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

COMMITS = "evaluate"
"""The step that commits a round."""

LARGEST = 256 * 1024 * 1024
"""Maximum number of bytes read from the nodes: a thousand times Argo's limit on a compressed workflow."""

NO_WORKFLOW = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError)
"""Errors that reading raises if the manifest is not a workflow."""

STATES = {"Error": "FAILED"}
"""Argo's phases that have a different name in Kubeflow."""

DRIVER = "-driver"
"""Suffix of the name of the pod with which Kubeflow prepares a task."""

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")

LOST = "LOST"
"""Our state of a submission whose workflow no longer exists; Kubeflow does not notice and reports RUNNING forever."""

CANCELING = "CANCELING"
"""Terminated, but not ended yet."""


@dataclass(frozen=True)
class Progress:
    """The progress of a submission at one point in time.

    Attributes:
        state: State that Kubeflow reports.
        passes: Number of committed passes over the clients: the rounds, and the closing pass that only evaluates.
        unused: Number of slots in which open_round found nothing to do.
        running: Names of the running steps, one for each pod, sorted.
        failed: Names of the failed steps and of Kubeflow's own failed preparations of a task (`NAME-driver`), sorted.
        error: Kubeflow's error message.
        tasks: (task, state) of all nodes, sorted; None if only the run's own list is known, which can be out of date.
    """

    state: str
    passes: int
    unused: int
    running: tuple[str, ...]
    failed: tuple[str, ...]
    error: str
    tasks: tuple[tuple[str, str], ...] | None = field(repr=False)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def stands_since(self, before: Progress | None) -> bool:
        """Return whether nothing has changed since `before`; False if the list of tasks can be out of date."""
        if before is None or (self.tasks is None and self.state != CANCELING):
            return False
        return (self.state, self.tasks) == (before.state, before.tasks)

    def finishes(self, before: int, wanted: int) -> bool:
        """Return whether the federated run is finished and this submission has published it.

        In a successful submission, a slot stays unused only if no round is left. Without an unused slot, the number of
        passes decides. If that number is not known to suffice, one more submission finds out within a minute.

        Args:
            before: Number of passes that earlier submissions are known to have committed.
            wanted: Total number of passes, including the closing one.
        """
        return self.state == "SUCCEEDED" and (self.unused > 0 or before + self.passes >= wanted)

    def __str__(self) -> str:
        counts = Counter(self.running)
        running = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(counts.items()))
        parts = [
            self.state.lower(),
            f"{count(self.passes, 'pass')} committed",
            f"running {running}" if running and not self.ended else "",
        ]
        parts.append(f"failed: {', '.join(self.failed)}" if self.failed else "")
        return "; ".join(part for part in parts if part)

    @property
    def reason(self) -> str:
        """Why the submission failed, as far as Kubeflow reports it."""
        tasks = f"failed: {', '.join(self.failed)}" if self.failed else "no step failed"
        return f"{tasks}; Kubeflow says: {self.error}" if self.error else tasks


def nodes_of(manifest: str) -> list[tuple[str, str]]:
    """Return (task, state) of each node of an Argo workflow; empty if the manifest is not a workflow."""
    try:
        return [
            (str(node["displayName"]), STATES.get(node["phase"], node["phase"].upper())) for node in _nodes(manifest)
        ]
    except NO_WORKFLOW:
        return []


def last_change(manifest: str) -> datetime | None:
    """Return when a node of an Argo workflow last started or ended.

    The result is None if the manifest is not a workflow, or the workflow has no nodes yet.
    """
    try:
        times = [node.get(name) for node in _nodes(manifest) for name in ("startedAt", "finishedAt")]
        return max((datetime.fromisoformat(time) for time in times if time), default=None)
    except NO_WORKFLOW:
        return None


def _nodes(manifest: str) -> list[dict[str, Any]]:
    """Return the nodes of an Argo workflow, whether they are compressed or not."""
    status = json.loads(manifest)["status"]
    compressed = base64.b64decode(status.get("compressedNodes", ""))
    nodes = (
        json.loads(gzip.GzipFile(fileobj=io.BytesIO(compressed)).read(LARGEST))
        if compressed
        else status.get("nodes", {})
    )
    return list(nodes.values())


def progress_of(run: V2beta1Run, nodes: list[tuple[str, str]], package: Package) -> Progress:
    """Return the progress of a run that the API returned.

    Args:
        run: The run, whose own tasks are used if the workflow's nodes are not known.
        nodes: (task, state) of the workflow's nodes.
        package: The pipeline, which defines the names of the steps and conditions.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    tasks = nodes or [(task.display_name or "", task.state or "") for task in details]
    steps = [(name, state) for name, state in tasks if name in package.steps]
    return Progress(
        state=run.state or "PENDING",
        passes=steps.count((COMMITS, "SUCCEEDED")),
        unused=sum(name in package.conditions and state == "SKIPPED" for name, state in tasks),
        running=tuple(sorted(name for name, state in steps if state in ("RUNNING", "PENDING"))),
        failed=tuple(
            sorted(
                {
                    name
                    for name, state in tasks
                    if state == "FAILED" and (name in package.steps or name.endswith(DRIVER))
                }
            )
        ),
        error=" ".join(str(run.error.message or "").split()) if run.error else "",
        tasks=tuple(sorted(nodes)) if nodes or not details else None,
    )
