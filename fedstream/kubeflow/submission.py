"""Submit a run to Kubeflow Pipelines, follow it, and submit it again until it is finished. Draws nothing but lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fedstream.errors import RunError, UsageError
from fedstream.kubeflow.api import PipelinesApi, Version, parameters_of
from fedstream.kubeflow.causes import causes
from fedstream.kubeflow.following import Submission, follow
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import Progress
from fedstream.kubeflow.sight import Sight
from fedstream.run import RunSpec, parse_spec

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
    """

    spec: RunSpec
    package: Package
    parameters: dict[str, Any]
    experiment_id: str
    namespace: str
    version: Version
    ui: str

    @property
    def rounds(self) -> int:
        """Rounds in all, with the one that only measures."""
        return self.spec.rounds + self.spec.federated_evaluation

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
    def rounds(self) -> int:
        """Rounds committed by the submissions that were followed."""
        return sum(submission.progress.rounds for submission in self.submissions if submission.progress)


def form_values(spec: RunSpec, given: dict[str, Any], package: Package) -> dict[str, Any]:
    """Return the form values to submit: those the pipeline knows.

    Raises:
        UsageError: a value was given that the pipeline has no parameter for, or less memory than its steps need.
    """
    values = spec.model_dump(mode="json") | {name: value for name, value in given.items() if value is not None}
    defaults = parse_spec({"run": spec.run, "model": spec.model}).model_dump(mode="json")
    unknown = [name for name, value in values.items() if name not in package.parameters and value != defaults.get(name)]
    if unknown:
        raise UsageError(
            f"pipeline {package.name!r} of {str(package.path)!r} has no parameter {unknown[0]!r}; leave it out, or submit another --package-file"
        )
    if "memory" in values:
        _check_memory(values["memory"], package.least_memory)
    return {name: value for name, value in values.items() if name in package.parameters}


def _check_memory(memory: str, least: str) -> None:
    """Check what Kubernetes would refuse only when a step's pod is made."""
    from kubernetes.utils import parse_quantity

    try:
        enough = parse_quantity(memory) >= parse_quantity(least or 0)
    except ValueError as error:
        raise UsageError(f"--memory: {memory!r} is no amount of memory; write 4Gi for four gibibytes") from error
    if not enough:
        raise UsageError(f"--memory: {memory} is less than the {least} that a step asks its node for before it holds any records; give it more")


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
    return Order(spec, package, parameters, experiment_id, namespace, api.version(package, namespace), health["ui"])


def submit(api: PipelinesApi, order: Order, say: Callable[[str], None]) -> Submission:
    """Create a KFP run, or take up the one of this federated run that is under way.

    Raises:
        UsageError: one that is under way has other values.
    """
    name = order.spec.run
    if active := api.active_run(name, order.namespace):
        values = order.package.parameters | parameters_of(active)
        if changed := sorted(key for key, value in order.parameters.items() if values.get(key) != value):
            before, now = values.get(changed[0]), order.parameters[changed[0]]
            change = f"another {changed[0]} ({before!r}, now {now!r})"
            raise UsageError(f"run {name!r} is under way as {active.run_id} with {change}; wait for its end, or terminate it in the Kubeflow UI")
        submission = order.submission(str(active.run_id))
        say(f"run {name} is under way already, as {submission.run_id}")
    else:
        created = api.create_run(name, order.experiment_id, order.namespace, order.version, order.parameters)
        submission = order.submission(str(created.run_id))
        say(f"submitted run {name} as {submission.run_id}")
    unknown = "its page is in the Kubeflow UI, under Runs; set KF_PIPELINES_UI_ENDPOINT to the UI's address to have it printed here"
    say(f"its page: {submission.url}" if submission.url else unknown)
    return submission


def run_until(api: PipelinesApi, order: Order, tries: int, outcome: Outcome, say: Callable[[str], None], sight: Sight) -> None:
    """Submit and follow until the federated run is finished, at most `tries` times.

    Args:
        api: where to submit.
        order: what.
        tries: submissions at most; 1 for a single one, whatever it comes to.
        outcome: filled on the way, so that it is known after Ctrl-C too.
        say: told what happens to the run.
        sight: what can be seen of a submission while it goes on.

    Raises:
        RunError: the last submission failed, stands still, or two in a row committed no round.
    """
    fruitless = 0
    for number in range(1, tries + 1):
        submission = submit(api, order, say)
        before = outcome.rounds
        outcome.submissions.append(submission)
        progress = follow(api, submission, order.package, sight.tell)
        outcome.result = sight.result(order.spec, say) if progress.state == "SUCCEEDED" else {}
        outcome.finished = bool(outcome.result.get("finished")) or progress.finishes(before, order.rounds)
        if outcome.finished or (tries == 1 and progress.state == "SUCCEEDED"):
            return
        fruitless = 0 if progress.rounds else fruitless + 1
        why = _why(api, order, submission.run_id, progress)
        ended = f"submission {submission.run_id} of run {order.spec.run!r} ended as {progress.state.lower()} ({why})"
        if progress.state == "CANCELED":
            raise RunError(f"{ended}: somebody terminated it; submit the same run again to go on")
        if fruitless == FRUITLESS:
            raise RunError(
                f"{ended}, the second in a row that committed no round; look at the failed steps' logs in the Kubeflow UI, then submit it again"
            )
        if number == tries:
            what = "what went wrong is in the failed steps' logs in the Kubeflow UI; " if progress.state == "FAILED" else ""
            raise RunError(f"{ended} after {tries} {'tries' if tries > 1 else 'try'}; {what}submit the same run again to go on")
        say(f"{order.spec.run}: {progress}; submitting it again ({number + 1} of at most {tries})")


def _why(api: PipelinesApi, order: Order, run_id: str, progress: Progress) -> str:
    kube, namespace = api.connection.kube, order.namespace or api.connection.namespace
    said = causes(kube, namespace, run_id) if kube and progress.state == "FAILED" else []
    return "; ".join([progress.reason, *said])
