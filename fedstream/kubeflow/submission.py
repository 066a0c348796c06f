"""Submit a run to Kubeflow Pipelines, follow it, and submit it again until it is finished. Reports with lines only."""

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

GONE = "its workflow no longer exists (it was deleted by hand or with a recurring run), so nothing runs"
GO_ON = "terminate and archive it in the Kubeflow UI and submit the same run again, or let --until-done do both"
"""Messages about a submission that Kubeflow reports as running forever; its committed rounds are kept."""

FRUITLESS = 2
"""Number of consecutive submissions without a new commit after which the run is not submitted again."""


@dataclass(frozen=True)
class Order:
    """A run that is ready to be submitted.

    Attributes:
        spec: The run.
        package: The compiled pipeline.
        parameters: The form values.
        experiment_id: ID of the experiment.
        namespace: Namespace of the profile in multi-user Kubeflow, else empty.
        version: The uploaded pipeline.
        ui: Address of Kubeflow's web interface; empty if unknown.
        view: View of the cluster.
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
        """Total number of passes over the clients: the rounds, and with federated evaluation a closing evaluation."""
        return self.spec.rounds + self.spec.federated_evaluation

    def __str__(self) -> str:
        rounds = count(self.spec.rounds, "round")
        return (
            f"{rounds} and a closing pass that only evaluates, {self.passes} passes in total"
            if self.spec.federated_evaluation
            else rounds
        )

    def submission(self, run_id: str) -> Submission:
        """Return a submission that has not been followed yet."""
        return Submission(run_id, f"{self.ui}/#/runs/details/{run_id}" if self.ui else "", self.spec.round_deadline_s)


@dataclass
class Outcome:
    """The outcome of all submissions so far.

    Attributes:
        submissions: The submissions, in order.
        finished: Whether the federated run is finished; None if that is not known.
        result: The run's result from the store; empty if the store cannot be read from here or no submission has
            succeeded yet.
    """

    submissions: list[Submission] = field(default_factory=list)
    finished: bool | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> int:
        """Number of passes committed by the submissions that were followed."""
        return sum(submission.progress.passes for submission in self.submissions if submission.progress)


def prepare(
    api: PipelinesApi, spec: RunSpec, given: dict[str, Any], package: Package, experiment: str, namespace: str
) -> Order:
    """Check that the API answers, create the experiment, and upload the pipeline.

    Args:
        api: API to submit to.
        spec: The run.
        given: Form values in addition to those of the spec; None for the form's default.
        package: The compiled pipeline.
        experiment: Name of the experiment.
        namespace: Namespace of the profile in multi-user Kubeflow, else empty.
    """
    parameters = form_values(spec, given, package)
    health = api.health()
    if health["multi_user"] and not namespace:
        raise UsageError("this is a multi-user Kubeflow; set the namespace of your profile with --namespace")
    experiment_id = api.experiment(experiment, namespace)
    view = View(api.connection.kube, namespace or api.connection.namespace)
    return Order(
        spec, package, parameters, experiment_id, namespace, api.version(package, namespace), health["ui"], view
    )


def submit(
    api: PipelinesApi,
    order: Order,
    say: Callable[[str], None],
    *,
    followed: bool = False,
    renew: bool = False,
    force: bool = False,
) -> Submission:
    """Create a KFP run, or return the submission of this federated run that is already in progress.

    Args:
        api: API to submit to.
        order: The run to submit.
        say: Called with a line for each event.
        followed: Whether the caller follows the submission, which detects by itself whether it is stuck.
        renew: Whether to retire a submission whose workflow no longer exists, instead of raising an error.
        force: Whether to submit placements that fit no node.

    Raises:
        UsageError: The submission in progress has different values.
        RunError: The submission in progress has no workflow, or is stuck.
        ClusterError: A placement fits no node.
    """
    name = order.spec.run
    if (active := api.active_run(name, order.namespace)) and not (
        renew and _retired(api, order, str(active.run_id), say)
    ):
        submission, doubt = _taken_up(api, order, active)
        if doubt and not followed:
            raise RunError(doubt)
        if doubt:
            say(f"warning: {doubt}")
        say(f"run {name} is already in progress as {submission.run_id}")
    else:
        _check_placements(order, say, force)
        created = api.create_run(name, order.experiment_id, order.namespace, order.version, order.parameters)
        submission = order.submission(str(created.run_id))
        say(f"submitted run {name} as {submission.run_id}: {order}")
    unknown = (
        "its page is in the Kubeflow UI, under Runs; set KF_PIPELINES_UI_ENDPOINT to the UI's address to "
        "print the link here"
    )
    say(f"its page: {submission.url}" if submission.url else unknown)
    return submission


def _taken_up(api: PipelinesApi, order: Order, active: V2beta1Run) -> tuple[Submission, str]:
    """Return the submission in progress, after checking its values and its workflow, and why it seems to be stuck."""
    submission = order.submission(str(active.run_id))
    which = f"run {order.spec.run!r} is in progress as {submission.run_id}"
    if apart := difference(parameters_of(active), order.parameters, order.package):
        raise UsageError(f"{which} with {apart}; wait until it ends, or terminate it in the Kubeflow UI")
    if _lost(api, order, submission.run_id):
        raise RunError(f"{which} according to Kubeflow, but {GONE}; {GO_ON}")
    return submission, stands_still(submission, str(active.state).lower(), api.quiet_s(submission.run_id))


def _lost(api: PipelinesApi, order: Order, run_id: str) -> bool:
    """Return whether a submission has no workflow but is still in progress according to Kubeflow.

    Kubeflow is asked second, so that a submission that has just ended does not count as lost.
    """
    return order.view.lost(run_id) and api.run(run_id).state in UNDER_WAY


def _retired(api: PipelinesApi, order: Order, run_id: str, say: Callable[[str], None]) -> bool:
    """Terminate and archive a submission if its workflow no longer exists; return whether it did."""
    if not _lost(api, order, run_id):
        return False
    say(f"submission {run_id}: {GONE}; terminating and archiving it to submit the run again")
    api.retire(run_id)
    return True


def _check_placements(order: Order, say: Callable[[str], None], force: bool) -> None:
    """Check the placements against the nodes, if the nodes can be listed."""
    if not (nodes := order.view.nodes()):
        return
    fits, misfits = compare(order.spec, nodes)
    for line in fits:
        say(line)
    if misfits and not force:
        raise ClusterError(
            f"{'; '.join(misfits)}; pass --force to submit it anyway, for example if a node will be added later"
        )
    for line in misfits:
        say(f"warning: {line}")


def run_until(
    api: PipelinesApi,
    order: Order,
    tries: int | None,
    outcome: Outcome,
    say: Callable[[str], None],
    observer: Observer,
    *,
    force: bool = False,
) -> None:
    """Submit the run and follow it, up to `tries` times, until the federated run is finished.

    Args:
        api: API to submit to.
        order: The run to submit.
        tries: Maximum number of submissions; None for a single one, which need not finish the federated run.
        outcome: Filled in as the submissions proceed, so that it is available after Ctrl-C.
        say: Called with a line for each event.
        observer: Observer of the run.
        force: Whether to submit placements that fit no node; placements are checked at the first submission only.

    Raises:
        RunError: The last submission failed or is stuck, or two consecutive submissions committed no round.
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
                raise RunError(f"submission {submission.run_id} cannot end: {GONE}; {GO_ON}")
            _retired(api, order, submission.run_id, say)
        if progress.state == "CANCELED":
            raise RunError(f"{ended}: it was terminated by a user; submit the same run again to continue it")
        if fruitless == FRUITLESS:
            raise RunError(
                f"{ended}, the second in a row that committed no round; check the failed steps' logs in the "
                "Kubeflow UI, then submit the run again"
            )
        if number == (tries or 1):
            what = "check the failed steps' logs in the Kubeflow UI; " if progress.state == "FAILED" else ""
            raise RunError(
                f"{ended} after {number} {'tries' if number > 1 else 'try'}; "
                f"{what}submit the same run again to continue it"
            )
        say(f"{order.spec.run}: {progress}; submitting it again ({number + 1} of at most {tries})")


def _why(order: Order, run_id: str, progress: Progress) -> str:
    if progress.state == LOST:
        return GONE
    return "; ".join([progress.reason, *(order.view.causes(run_id) if progress.state == "FAILED" else [])])
