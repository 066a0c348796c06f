"""Follow a submission to its end, or until it is plain that there is none to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedstream.errors import ClusterError, RunError
from fedstream.kubeflow.api import PipelinesApi
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import CANCELING, ENDED, LOST, Progress, progress_of
from fedstream.kubeflow.view import View
from fedstream.text import duration

POLL_S = 3.0
"""Seconds between questions: a step takes at least ten."""

LOOK_S = 15.0
"""Seconds between looks at all tasks, which are a megabyte."""

START_S = 1800.0
"""Seconds a pod may take to get a node, its images and its results out, beside the deadline of the step that runs in it."""

CANCEL_S = 300.0
"""Seconds without a change after which a terminated submission counts as lost: its pods have half a minute to end."""

FOLLOW_S = 8 * 86_400.0
"""Seconds one submission is followed: longer than the deadline that is compiled into the pipeline."""


@dataclass
class Submission:
    """One KFP run of the federated run.

    Attributes:
        run_id: KFP's id of it.
        url: its page; empty if unknown.
        step_s: seconds one of its steps may take, by the run's own deadline.
        progress: how far it is; absent if it was not followed.
    """

    run_id: str
    url: str
    step_s: float
    progress: Progress | None = None


def follow(
    api: PipelinesApi, submission: Submission, package: Package, view: View, tell: Callable[[str], None], warn: Callable[[str], None]
) -> Progress:
    """Wait for the end of a submission.

    Args:
        api: where it was submitted.
        submission: whose progress is kept up.
        package: the pipeline.
        view: what can be seen of the cluster.
        tell: told whenever its tasks change.
        warn: told, once each, of pods that wait for a node.

    Returns:
        How it ended; in the state LOST if its workflow is gone, so that it never will.

    Raises:
        ClusterError: the API is away for minutes, the submission was deleted, or it does not end within its deadline.
        RunError: nothing has changed in it for longer than a step may take, or for minutes after it was terminated.
    """
    changed = began = time.monotonic()
    look, said, seen = 0.0, "", Looks(view, submission.run_id)
    while (now := time.monotonic()) < began + FOLLOW_S:
        run = api.run(submission.run_id)
        if run.state in ENDED or now >= look:
            before, progress = submission.progress, progress_of(run, api.nodes(submission.run_id), package)
            submission.progress, look = progress, now + LOOK_S
            if (line := str(progress)) != said:
                tell(line)
                said = line
            if progress.ended:
                return progress
            if progress.state != CANCELING and seen.lost():
                submission.progress = replace(progress, state=LOST)
                return submission.progress
            for line in seen.waiting():
                warn(line)
            if not progress.stands_since(before):
                changed = now
            if reason := stands_still(submission, str(progress), now - changed):
                raise RunError(reason)
        time.sleep(POLL_S)
    raise ClusterError(
        f"submission {submission.run_id} has not ended in {duration(FOLLOW_S)}; look at it in the Kubeflow UI: the same command follows it again"
    )


class Looks:
    """Looks at a submission's workflow and pods, of which only what two in a row show counts: a pod may be about to get its node."""

    def __init__(self, view: View, run_id: str) -> None:
        self._view, self._run_id = view, run_id
        self._lost, self._waiting = False, set[str]()
        self._told: set[str] = set()

    def lost(self) -> bool:
        """Tell whether its workflow is gone."""
        before, self._lost = self._lost, self._view.lost(self._run_id)
        return before and self._lost

    def waiting(self) -> list[str]:
        """Return what its pods wait for, each once."""
        before, self._waiting = self._waiting, set(self._view.waiting(self._run_id))
        fresh = sorted(before & self._waiting - self._told)
        self._told |= set(fresh)
        return fresh


def stands_still(submission: Submission, progress: str, quiet_s: float) -> str:
    """Say why to give a submission up in which nothing has changed for too long; empty if it has not been too long.

    A training may take hours, but no longer than its run allows it: after that and the time of a pod to start, some task must have changed.

    Args:
        submission: the one.
        progress: how far it is, in words that begin with its state.
        quiet_s: seconds since its last change.
    """
    which = f"submission {submission.run_id}"
    if progress.startswith(CANCELING.lower()) and quiet_s > CANCEL_S:
        return (
            f"{which} was terminated, and for {duration(quiet_s)} nothing has changed in it: Argo does not end it; archive and delete it in the "
            "Kubeflow UI, and submit the same run again to go on"
        )
    if quiet_s > submission.step_s + START_S:
        return (
            f"{which} stands still ({progress}): nothing has changed in it for {duration(quiet_s)}, longer than a step may take by --round-deadline "
            f"and {duration(START_S)} to start; look at it in the Kubeflow UI: if a pod waits for a node, `fedstream doctor --cluster --placement` "
            "says why, and the same command with --watch follows it again; if no pod runs, terminate and archive it, and submit the same run again "
            "to go on"
        )
    return ""
