"""How far a submission is, by what Kubeflow Pipelines says of its tasks. Asks nobody."""

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
"""Bytes of nodes that are read: a thousand times what Argo's limit on a workflow leaves compressed."""

NO_WORKFLOW = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError)
"""How reading fails of what is no workflow."""

STATES = {"Error": "FAILED"}
"""Argo's phases that Kubeflow calls otherwise."""

DRIVER = "-driver"
"""How Kubeflow names the pod that prepares a task."""

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")

LOST = "LOST"
"""Our state of a submission whose workflow is gone; Kubeflow never hears of that and says RUNNING for good."""

CANCELING = "CANCELING"
"""Terminated, and not ended yet."""


@dataclass(frozen=True)
class Progress:
    """A submission at one moment.

    Attributes:
        state: Kubeflow's state of it.
        passes: passes over the clients it has committed: rounds, and the closing one that only measures.
        unused: slots whose open_round found nothing to do.
        running: names of the steps that run, one for each pod, sorted.
        failed: names of the steps that failed, and of Kubeflow's own preparations of a task (`NAME-driver`), sorted.
        error: what Kubeflow says about its failure.
        tasks: (task, state) of all that it consists of, sorted; absent where only the run's own list is known, which may be old.
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
        """Tell whether nothing has changed since; of a list of tasks that may be old, nobody can tell while they run."""
        if before is None or (self.tasks is None and self.state != CANCELING):
            return False
        return (self.state, self.tasks) == (before.state, before.tasks)

    def finishes(self, before: int, wanted: int) -> bool:
        """Tell whether the federated run is finished, and this submission has published it.

        In a submission that has succeeded, a slot stays unused only when no round is left. Without such a slot it is the number of passes that tells;
        where that is not known to suffice, one more submission finds out in a minute.

        Args:
            before: passes that earlier submissions are known to have committed.
            wanted: passes in all, with the closing one.
        """
        return self.state == "SUCCEEDED" and (self.unused > 0 or before + self.passes >= wanted)

    def __str__(self) -> str:
        counts = Counter(self.running)
        running = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(counts.items()))
        parts = [self.state.lower(), f"{count(self.passes, 'pass')} committed", f"running {running}" if running and not self.ended else ""]
        parts.append(f"failed: {', '.join(self.failed)}" if self.failed else "")
        return "; ".join(part for part in parts if part)

    @property
    def reason(self) -> str:
        """Why it failed, as far as Kubeflow tells."""
        tasks = f"failed: {', '.join(self.failed)}" if self.failed else "no step failed"
        return f"{tasks}; Kubeflow says: {self.error}" if self.error else tasks


def nodes_of(manifest: str) -> list[tuple[str, str]]:
    """Return (task, state) of each node of an Argo workflow; empty for what is no workflow."""
    try:
        return [(str(node["displayName"]), STATES.get(node["phase"], node["phase"].upper())) for node in _nodes(manifest)]
    except NO_WORKFLOW:
        return []


def last_change(manifest: str) -> datetime | None:
    """Return when a node of an Argo workflow last began or ended; None for what is no workflow, or has no nodes yet."""
    try:
        times = [node.get(name) for node in _nodes(manifest) for name in ("startedAt", "finishedAt")]
        return max((datetime.fromisoformat(time) for time in times if time), default=None)
    except NO_WORKFLOW:
        return None


def _nodes(manifest: str) -> list[dict[str, Any]]:
    """Return the nodes of an Argo workflow, whether it has compressed them or not."""
    status = json.loads(manifest)["status"]
    compressed = base64.b64decode(status.get("compressedNodes", ""))
    nodes = json.loads(gzip.GzipFile(fileobj=io.BytesIO(compressed)).read(LARGEST)) if compressed else status.get("nodes", {})
    return list(nodes.values())


def progress_of(run: V2beta1Run, nodes: list[tuple[str, str]], package: Package) -> Progress:
    """Read a run as the API returns it.

    Args:
        run: with its own tasks, which count where the workflow's nodes are not known.
        nodes: (task, state) of the workflow's nodes.
        package: the pipeline, which names its steps and conditions.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    tasks = nodes or [(task.display_name or "", task.state or "") for task in details]
    steps = [(name, state) for name, state in tasks if name in package.steps]
    return Progress(
        state=run.state or "PENDING",
        passes=steps.count((COMMITS, "SUCCEEDED")),
        unused=sum(name in package.conditions and state == "SKIPPED" for name, state in tasks),
        running=tuple(sorted(name for name, state in steps if state in ("RUNNING", "PENDING"))),
        failed=tuple(sorted({name for name, state in tasks if state == "FAILED" and (name in package.steps or name.endswith(DRIVER))})),
        error=" ".join(str(run.error.message or "").split()) if run.error else "",
        tasks=tuple(sorted(nodes)) if nodes or not details else None,
    )
