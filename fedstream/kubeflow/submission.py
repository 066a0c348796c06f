"""Submit a run to Kubeflow Pipelines, follow it, and submit it again until it is finished. Draws nothing but lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedstream.errors import ClusterError, RunError, UsageError
from fedstream.kubeflow.api import UNDER_WAY, PipelinesApi, Version, parameters_of
from fedstream.kubeflow.following import Submission, follow, stands_still
from fedstream.kubeflow.observer import Observer
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.placing import compare
from fedstream.kubeflow.progress import LOST, Progress
from fedstream.kubeflow.values import difference, form_values
from fedstream.kubeflow.view import View
from fedstream.record.spec import RunSpec
from fedstream.text import count

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

GONE = "the workflow is gone, deleted by hand or with a recurring run, so that nothing runs"
GO_ON = "terminate and archive it in the Kubeflow UI and submit the same run again, or let --until-done do both"
"""What is said of a submission that Kubeflow calls running for good; its committed rounds stay."""

FRUITLESS = 2
"""Submissions in a row without a new commit, after which another one would only cost."""


@dataclass(frozen=True)
class Order:
    """What is submitted.

    Attributes:
        spec: the run.
        package: the compiled pipeline.
        parameters: form values.
        experiment_id: experiment of the runs.
        namespace: profile in multi-user Kubeflow, else empty.
        version: the uploaded pipeline.
        ui: address of Kubeflow's web interface; empty if unknown.
        view: what can be seen of the cluster.
    """

    spec: RunSpec
    package: Package
    parameters: dict[str, Any]
    experiment_id: str
    namespace: str
    version: Version
    ui: str
    view: View

    @property
    def passes(self) -> int:
        """Passes over the clients in all: the rounds, and with federated evaluation a closing one that only measures."""
        return self.spec.rounds + self.spec.federated_evaluation

    def __str__(self) -> str:
        rounds = count(self.spec.rounds, "round")
        return f"{rounds} and a closing pass that only measures, {self.passes} passes in all" if self.spec.federated_evaluation else rounds

    def submission(self, run_id: str) -> Submission:
        """Return what is known of a submission at first."""
        return Submission(run_id, f"{self.ui}/#/runs/details/{run_id}" if self.ui else "", self.spec.round_deadline_s)


@dataclass
class Outcome:
    """What came of all submissions so far.

    Attributes:
        submissions: in order.
        finished: whether the federated run is finished; absent if that is not known.
        result: what the store says of the run; empty where it cannot be read from here, and before a submission has succeeded.
    """

    submissions: list[Submission] = field(default_factory=list)
    finished: bool | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """Passes committed by the submissions that were followed."""
        return sum(submission.progress.passes for submission in self.submissions if submission.progress)


def prepare(api: PipelinesApi, spec: RunSpec, given: dict[str, Any], package: Package, experiment: str, namespace: str) -> Order:
    """Check that the API answers, and make what a run needs there: the experiment and the uploaded pipeline.

    Args:
        api: where to submit.
        spec: the run.
        given: form values beside the spec's; None for the form's default.
        package: the compiled pipeline.
        experiment: name of the experiment.
        namespace: profile in multi-user Kubeflow, else empty.
    """
    parameters = form_values(spec, given, package)
    health = api.health()
    if health["multi_user"] and not namespace:
        raise UsageError("this Kubeflow has users: name your profile's namespace with --namespace")
    experiment_id = api.experiment(experiment, namespace)
    view = View(api.connection.kube, namespace or api.connection.namespace)
    return Order(spec, package, parameters, experiment_id, namespace, api.version(package, namespace), health["ui"], view)


def submit(
    api: PipelinesApi, order: Order, say: Callable[[str], None], *, followed: bool = False, renew: bool = False, force: bool = False
) -> Submission:
    """Create a KFP run, or take up the one of this federated run that is under way.

    Args:
        api: where to submit.
        order: what.
        say: told what happens.
        followed: whether it is followed then, which finds out itself whether it goes on.
        renew: whether to retire one that is under way by its state, but whose workflow is gone, instead of saying so.
        force: whether to submit placements that fit no node.

    Raises:
        UsageError: one that is under way has other values.
        RunError: nothing runs of the one that is under way.
        ClusterError: a placement fits no node.
    """
    name = order.spec.run
    if (active := api.active_run(name, order.namespace)) and not (renew and _retired(api, order, str(active.run_id), say)):
        submission, doubt = _taken_up(api, order, active)
        if doubt and not followed:
            raise RunError(doubt)
        if doubt:
            say(f"warning: {doubt}")
        say(f"run {name} is under way already, as {submission.run_id}")
    else:
        _check_placements(order, say, force)
        created = api.create_run(name, order.experiment_id, order.namespace, order.version, order.parameters)
        submission = order.submission(str(created.run_id))
        say(f"submitted run {name} as {submission.run_id}: {order}")
    unknown = "its page is in the Kubeflow UI, under Runs; set KF_PIPELINES_UI_ENDPOINT to the UI's address to have it printed here"
    say(f"its page: {submission.url}" if submission.url else unknown)
    return submission


def _taken_up(api: PipelinesApi, order: Order, active: V2beta1Run) -> tuple[Submission, str]:
    """Return the submission that is under way, once it is known to have the same values and a workflow, and why to doubt that it goes on."""
    submission = order.submission(str(active.run_id))
    which = f"run {order.spec.run!r} is under way as {submission.run_id}"
    if apart := difference(parameters_of(active), order.parameters, order.package):
        raise UsageError(f"{which} with {apart}; wait for its end, or terminate it in the Kubeflow UI")
    if _lost(api, order, submission.run_id):
        raise RunError(f"{which} by what Kubeflow says, but {GONE}; {GO_ON}")
    return submission, stands_still(submission, str(active.state).lower(), api.quiet_s(submission.run_id))


def _lost(api: PipelinesApi, order: Order, run_id: str) -> bool:
    """Tell whether a submission has no workflow, and by what Kubeflow says after that still is under way: it has not just ended."""
    return order.view.lost(run_id) and api.run(run_id).state in UNDER_WAY


def _retired(api: PipelinesApi, order: Order, run_id: str, say: Callable[[str], None]) -> bool:
    """Terminate and archive a submission whose workflow is gone; tell whether it was one."""
    if not _lost(api, order, run_id):
        return False
    say(f"of {run_id} {GONE}: terminating and archiving it, to submit the run again")
    api.retire(run_id)
    return True


def _check_placements(order: Order, say: Callable[[str], None], force: bool) -> None:
    """Hold the placements against the nodes, where these can be listed."""
    if not (nodes := order.view.nodes()):
        return
    fits, misfits = compare(order.spec, nodes)
    for line in fits:
        say(line)
    if misfits and not force:
        raise ClusterError(f"{'; '.join(misfits)}; with --force it is submitted all the same, as for a node that is still to come")
    for line in misfits:
        say(f"warning: {line}")


def run_until(
    api: PipelinesApi, order: Order, tries: int | None, outcome: Outcome, say: Callable[[str], None], observer: Observer, *, force: bool = False
) -> None:
    """Submit and follow until the federated run is finished, at most `tries` times; or once, whatever it comes to.

    Args:
        api: where to submit.
        order: what.
        tries: submissions at most; None for a single one, whatever it comes to.
        outcome: filled on the way, so that it is known after Ctrl-C too.
        say: told what happens to the run.
        observer: what can be seen of a submission while it goes on.
        force: whether to submit placements that fit no node; the first submission decides for those after it.

    Raises:
        RunError: the last submission failed, stands still, or two in a row committed no round.
    """
    fruitless = 0
    for number in range(1, (tries or 1) + 1):
        submission = submit(api, order, say, followed=True, renew=tries is not None, force=force or number > 1)
        before = outcome.passes
        outcome.submissions.append(submission)
        progress = follow(api, submission, order.package, order.view, observer.tell, say)
        outcome.result = observer.result(order.spec, say) if progress.state == "SUCCEEDED" else {}
        outcome.finished = bool(outcome.result.get("finished")) or progress.finishes(before, order.passes)
        if outcome.finished or (tries is None and progress.state == "SUCCEEDED"):
            return
        fruitless = 0 if progress.passes else fruitless + 1
        why = _why(order, submission.run_id, progress)
        ended = f"submission {submission.run_id} of run {order.spec.run!r} ended as {progress.state.lower()} ({why})"
        if progress.state == LOST:
            if tries is None:
                raise RunError(f"of submission {submission.run_id} {GONE}; {GO_ON}")
            _retired(api, order, submission.run_id, say)
        if progress.state == "CANCELED":
            raise RunError(f"{ended}: somebody terminated it; submit the same run again to go on")
        if fruitless == FRUITLESS:
            raise RunError(
                f"{ended}, the second in a row that committed no round; look at the failed steps' logs in the Kubeflow UI, then submit it again"
            )
        if number == (tries or 1):
            what = "what went wrong is in the failed steps' logs in the Kubeflow UI; " if progress.state == "FAILED" else ""
            raise RunError(f"{ended} after {number} {'tries' if number > 1 else 'try'}; {what}submit the same run again to go on")
        say(f"{order.spec.run}: {progress}; submitting it again ({number + 1} of at most {tries})")


def _why(order: Order, run_id: str, progress: Progress) -> str:
    if progress.state == LOST:
        return GONE
    return "; ".join([progress.reason, *(order.view.causes(run_id) if progress.state == "FAILED" else [])])
