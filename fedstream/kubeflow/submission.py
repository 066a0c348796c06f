"""Submit a run to Kubeflow Pipelines, follow it, and submit it again until it is finished. Draws nothing but lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from fedstream.errors import ClusterError, FedstreamError, RunError, UsageError
from fedstream.kubeflow.api import CHECK_S, PipelinesApi, Version
from fedstream.kubeflow.causes import causes
from fedstream.kubeflow.package import Package
from fedstream.kubeflow.progress import ENDED, Progress, progress_of
from fedstream.run import RunSpec, parse_spec
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore
from fedstream.watch import Watch

POLL_S = 3.0
"""Seconds between questions: a step takes at least ten."""

LOOK_S = 15.0
"""Seconds between looks at all tasks, which are a megabyte."""

FOLLOW_S = 8 * 86_400.0
"""Seconds one submission is followed: longer than the deadline that is compiled into the pipeline."""

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
    """

    spec: RunSpec
    package: Package
    parameters: dict[str, Any]
    experiment_id: str
    namespace: str
    version: Version

    @property
    def rounds(self) -> int:
        """Rounds in all, with the one that only measures."""
        return self.spec.rounds + self.spec.federated_evaluation


@dataclass
class Submission:
    """One KFP run of the federated run.

    Attributes:
        run_id: KFP's id of it.
        url: its page; empty if unknown.
        progress: how far it is; absent if it was not followed.
    """

    run_id: str
    url: str
    progress: Progress | None = None


@dataclass
class Outcome:
    """What came of all submissions so far.

    Attributes:
        submissions: in order.
        finished: whether the federated run is finished; absent if that is not known.
    """

    submissions: list[Submission] = field(default_factory=list)
    finished: bool | None = None

    @property
    def rounds(self) -> int:
        """Rounds committed by the submissions that were followed."""
        return sum(submission.progress.rounds for submission in self.submissions if submission.progress)


def form_values(spec: RunSpec, given: dict[str, Any], package: Package) -> dict[str, Any]:
    """Return the form values to submit: those the pipeline knows.

    Raises:
        UsageError: a value was given that the pipeline has no parameter for.
    """
    values = spec.model_dump(mode="json") | {name: value for name, value in given.items() if value is not None}
    defaults = parse_spec({"run": spec.run, "model": spec.model}).model_dump(mode="json")
    unknown = [name for name, value in values.items() if name not in package.parameters and value != defaults.get(name)]
    if unknown:
        raise UsageError(
            f"pipeline {package.name!r} of {str(package.path)!r} has no parameter {unknown[0]!r}; leave it out, or submit another --package-file"
        )
    return {name: value for name, value in values.items() if name in package.parameters}


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
    if api.health()["multi_user"] and not namespace:
        raise UsageError("this Kubeflow has users: name your profile's namespace with --namespace")
    experiment_id = api.experiment(experiment, namespace)
    return Order(spec, package, parameters, experiment_id, namespace, api.version(package, namespace))


def submit(api: PipelinesApi, order: Order, say: Callable[[str], None]) -> Submission:
    """Create a KFP run, or take up the one of this name that has not ended.

    Raises:
        UsageError: one that has not ended has other values.
    """
    name = order.spec.run
    if active := api.active_run(name, order.experiment_id, order.namespace):
        values = (active.runtime_config.parameters if active.runtime_config else None) or {}
        if changed := sorted(key for key, value in order.parameters.items() if values.get(key) != value):
            before, now = values.get(changed[0]), order.parameters[changed[0]]
            change = f"another {changed[0]} ({before!r}, now {now!r})"
            raise UsageError(f"run {name!r} is under way as {active.run_id} with {change}; wait for its end, or terminate it in the Kubeflow UI")
        say(f"run {name} is under way already, as {active.run_id}")
        run_id = str(active.run_id)
    else:
        run_id = str(api.create_run(name, order.experiment_id, order.namespace, order.version, order.parameters).run_id)
        say(f"submitted run {name} as {run_id}")
    url = api.connection.url_of(run_id)
    say(
        f"its page: {url}"
        if url
        else "its page is in the Kubeflow UI, under Runs; set KF_PIPELINES_UI_ENDPOINT to the UI's address to have it printed here"
    )
    return Submission(run_id, url)


def follow(api: PipelinesApi, submission: Submission, package: Package, say: Callable[[str], None]) -> Progress:
    """Wait for the end of a submission; `say` is told whenever its tasks change.

    Raises:
        ClusterError: the API is away for minutes, or the submission does not end within its deadline.
    """
    until, look, said = time.monotonic() + FOLLOW_S, 0.0, ""
    while (now := time.monotonic()) < until:
        run = api.run(submission.run_id)
        if run.state in ENDED or now >= look:
            progress = submission.progress = progress_of(run, api.nodes(submission.run_id), package)
            look = now + LOOK_S
            if (line := str(progress)) != said:
                say(line)
                said = line
            if progress.ended:
                return progress
        time.sleep(POLL_S)
    raise ClusterError(
        f"submission {submission.run_id} has not ended in {FOLLOW_S / 86_400:.0f} days; look at it in the Kubeflow UI and terminate it"
    )


def run_until(api: PipelinesApi, order: Order, tries: int, outcome: Outcome, say: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Submit and follow until the federated run is finished, at most `tries` times.

    Args:
        api: where to submit.
        order: what.
        tries: submissions at most; 1 for a single one, whatever it comes to.
        outcome: filled on the way, so that it is known after Ctrl-C too.
        say: told what happens to the run.
        tell: told how the tasks of a submission go on.

    Raises:
        RunError: the last submission failed, or two in a row committed no round.
    """
    fruitless = 0
    for number in range(1, tries + 1):
        submission = submit(api, order, say)
        before = outcome.rounds
        outcome.submissions.append(submission)
        progress = follow(api, submission, order.package, tell)
        outcome.finished = progress.finishes(before, order.rounds)
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


@contextmanager
def table_or_lines(spec: RunSpec, console: Console, say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Show the table of rounds while the context lasts, if the store can be read from here; the context's value says how the tasks go on."""
    try:
        store = ObjectStore(StoreSettings.from_env())
        ObjectStore(store.settings, patience_s=CHECK_S).check()
    except FedstreamError as error:
        say(f"no table of the rounds, since the store cannot be read from here: {error}")
        yield say
        return
    with Watch(store, spec.run, spec.rounds, console):
        yield lambda _: None
