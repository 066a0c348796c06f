"""Follow a submission until it ends, or until it is clear that it never will."""

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
"""Seconds between polls; a step takes at least ten."""

LOOK_S = 15.0
"""Seconds between polls of all tasks, which are about a megabyte."""

START_S = 1800.0
"""Seconds that a pod can take to be scheduled, pull images and upload results, on top of its step's deadline."""

CANCEL_S = 300.0
"""Seconds without a change after which a terminated submission counts as stuck; its pods have 30 seconds to end."""

FOLLOW_S = 8 * 86_400.0
"""Seconds for which one submission is followed: longer than the deadline compiled into the pipeline."""


@dataclass
class Submission:
    """One KFP run of the federated run.

    Attributes:
        run_id: KFP's ID of the submission.
        url: Address of its page; empty if unknown.
        step_s: Seconds that one of its steps can take, according to the run's own deadline.
        progress: Its progress; None if it was not followed.
    """

    run_id: str
    url: str
    step_s: float
    progress: Progress | None = None


def follow(
    api: PipelinesApi,
    submission: Submission,
    package: Package,
    view: View,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> Progress:
    """Wait until a submission ends.

    Args:
        api: API it was submitted to.
        submission: The submission; its progress is updated.
        package: The pipeline.
        view: View of the cluster.
        tell: Called with a line whenever the state of its tasks changes.
        warn: Called once for each pod that waits for a node.

    Returns:
        The final progress; its state is LOST if the workflow no longer exists, so that the submission never ends.

    Raises:
        ClusterError: The API does not answer for minutes, the submission was deleted, or it misses its deadline.
        RunError: Nothing changed for longer than a step can take, or for minutes after the submission was terminated.
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
        f"submission {submission.run_id} has not ended in {duration(FOLLOW_S)}; check it in the Kubeflow UI, "
        "or follow it again with the same command"
    )


class Looks:
    """Observe a submission's workflow and pods, and report only what two consecutive observations show.

    A pod that waits in one observation can be about to get its node.
    """

    def __init__(self, view: View, run_id: str) -> None:
        self._view, self._run_id = view, run_id
        self._lost, self._waiting = False, set[str]()
        self._told: set[str] = set()

    def lost(self) -> bool:
        """Return whether the workflow no longer exists."""
        before, self._lost = self._lost, self._view.lost(self._run_id)
        return before and self._lost

    def waiting(self) -> list[str]:
        """Return what the pods wait for, each line once."""
        before, self._waiting = self._waiting, set(self._view.waiting(self._run_id))
        fresh = sorted(before & self._waiting - self._told)
        self._told |= set(fresh)
        return fresh


def stands_still(submission: Submission, progress: str, quiet_s: float) -> str:
    """Return why a submission counts as stuck; empty if it does not.

    Training can take hours, but no longer than the run's deadline: within that time and the time that a pod takes to
    start, some task must change.

    Args:
        submission: The submission.
        progress: Description of its progress, which begins with its state.
        quiet_s: Seconds since its last change.
    """
    which = f"submission {submission.run_id}"
    if progress.startswith(CANCELING.lower()) and quiet_s > CANCEL_S:
        return (
            f"{which} was terminated, but Argo does not end it: nothing has changed for {duration(quiet_s)}; "
            "archive and delete it in the "
            "Kubeflow UI, and submit the same run again to continue it"
        )
    if quiet_s > submission.step_s + START_S:
        return (
            f"{which} is stuck ({progress}): nothing has changed for {duration(quiet_s)}, "
            "longer than --round-deadline allows for a step plus "
            f"{duration(START_S)} to start it; check it in the Kubeflow UI: if a pod waits for a node, "
            "`fedstream doctor --cluster --placement` "
            "explains why, and the same command with --watch follows the submission again; if no pod runs, "
            "terminate and archive the submission, "
            "and submit the same run again to continue it"
        )
    return ""
