"""Follow a submission to its end, or until it is plain that there is none to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fedstream.errors import ClusterError, RunError
from fedstream.kubeflow.api import PipelinesApi
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import CANCELING, ENDED, Progress, progress_of
from fedstream.report.text import duration

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


def follow(api: PipelinesApi, submission: Submission, package: Package, say: Callable[[str], None]) -> Progress:
    """Wait for the end of a submission; `say` is told whenever its tasks change.

    Raises:
        ClusterError: the API is away for minutes, the submission was deleted, or it does not end within its deadline.
        RunError: nothing has changed in it for longer than a step may take, or for minutes after it was terminated.
    """
    changed = began = time.monotonic()
    look, said = 0.0, ""
    while (now := time.monotonic()) < began + FOLLOW_S:
        run = api.run(submission.run_id)
        if run.state in ENDED or now >= look:
            before, progress = submission.progress, progress_of(run, api.nodes(submission.run_id), package)
            submission.progress, look = progress, now + LOOK_S
            if (line := str(progress)) != said:
                say(line)
                said = line
            if progress.ended:
                return progress
            if not progress.stands_since(before):
                changed = now
            _check(submission, progress, now - changed)
        time.sleep(POLL_S)
    raise ClusterError(
        f"submission {submission.run_id} has not ended in {duration(FOLLOW_S)}; look at it in the Kubeflow UI: the same command follows it again"
    )


def _check(submission: Submission, progress: Progress, quiet_s: float) -> None:
    """Give a submission up in which nothing has changed for too long.

    A training may take hours, but no longer than its run allows it: after that and the time of a pod to start, some task must have changed.
    """
    which = f"submission {submission.run_id}"
    if progress.state == CANCELING and quiet_s > CANCEL_S:
        raise RunError(
            f"{which} was terminated, and for {duration(quiet_s)} nothing has changed in it: Argo does not end it; archive and delete it in the "
            "Kubeflow UI, and submit the same run again to go on"
        )
    if quiet_s > submission.step_s + START_S:
        raise RunError(
            f"{which} stands still ({progress}): nothing has changed in it for {duration(quiet_s)}, longer than a step may take by --round-deadline "
            f"and {duration(START_S)} to start; look at it in the Kubeflow UI: if a pod waits for a node, `fedstream doctor --cluster --placement` "
            "says why, and the same command follows it again; if no pod runs, terminate it, and submit the same run again to go on"
        )
