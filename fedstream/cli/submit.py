"""`fedstream submit`: its words; the work is done elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstream.cli.options import INTERRUPTED, THE_FORMS, KubeflowNamespace, PackageFile, with_options
from fedstream.cli.output import err, metrics_text, out, print_json
from fedstream.cli.watch import Watch
from fedstream.errors import FedstreamError
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec
from fedstream.settings import StoreSettings
from fedstream.store.objects import ObjectStore

if TYPE_CHECKING:
    from fedstream.kubeflow.following import Submission
    from fedstream.kubeflow.observer import Observer
    from fedstream.kubeflow.submission import Order, Outcome


SubmitJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on standard output. What the run came to, such as version and metrics, is in it once a followed submission has "
        "succeeded, and null where the store cannot be read from here.",
    ),
]
Token = Annotated[Path | None, typer.Option(help="File of the token that --host asks for.", show_default="the variable KFP_TOKEN")]

RESULT = ("model", "version", "reason", "rounds", "round", "metrics", "weights_digest")
"""What `fedstream run --json` says of a run, by the store."""


@with_options(RunSpec, "spec")
@with_options(PipelineOptions, "given", unset=THE_FORMS)
def submit(
    spec: dict[str, Any],
    given: dict[str, Any],
    package_file: PackageFile = None,
    experiment_name: Annotated[str, typer.Option(help="Experiment of the run; made if there is none.")] = "fedstream",
    namespace: Annotated[str, typer.Option(help="Your profile's namespace, where Kubeflow has users.", show_default="none")] = "",
    host: Annotated[str, typer.Option(help="Address of Kubeflow Pipelines.", show_default="KF_PIPELINES_ENDPOINT, or the kubeconfig's cluster")] = "",
    token_file: Token = None,
    ca_file: Annotated[Path | None, typer.Option(help="PEM file of the certificate authority of --host.", show_default="public ones")] = None,
    kubeflow_namespace: KubeflowNamespace = "kubeflow",
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end, with the table of a local run.")] = False,
    until_done: Annotated[bool, typer.Option("--until-done", help="Follow it, and submit it again until the run is finished.")] = False,
    tries: Annotated[int, typer.Option(min=1, help="Submissions at most, with --until-done.")] = 10,
    force: Annotated[bool, typer.Option("--force", help="Submit it though a placement fits no node of the cluster.")] = False,
    json: SubmitJson = False,
) -> None:
    """Submit a federated run to Kubeflow Pipelines, with the options of `fedstream run`.

    Without --host it goes from a pod straight to the cluster's own Kubeflow, and from elsewhere through the kubeconfig. A run that is under way is
    followed, not started twice: the same command takes it up again.

    Through the kubeconfig it also asks the cluster, as far as you may: placements that fit no node are not submitted without --force, following tells
    which pods wait for a node and why, and a run whose workflow is gone is told, or with --until-done retired and submitted again.

    Following ends with an error when nothing has changed in a run for --round-deadline and half an hour more: no step may take longer than the one,
    no pod should take longer than the other to start. A run that was terminated gets five minutes to end. Rounds and results are read from the
    store that S3_ENDPOINT_URL names; where it cannot be read, the states of Kubeflow's tasks are shown.

        fedstream submit --name first --model builtin:digits-mlp --rounds 30 --until-done
    """
    from fedstream.kubeflow import submission as work
    from fedstream.kubeflow.api import PipelinesApi
    from fedstream.kubeflow.connection import connect
    from fedstream.kubeflow.package import read_package, shipped_pipeline
    from fedstream.kubeflow.values import form_values
    from fedstream.steps.plan import checked_spec

    parsed, package = checked_spec(spec), read_package(package_file or shipped_pipeline())
    form_values(parsed, given, package)
    api = PipelinesApi(connect(host, token_file, ca_file, kubeflow_namespace))
    outcome = work.Outcome()
    try:
        order = work.prepare(api, parsed, given, package, experiment_name, namespace)
        if watch or until_done:
            with _observed(parsed) as observer:
                work.run_until(api, order, tries if until_done else None, outcome, _say, observer, force=force)
        else:
            outcome.submissions.append(work.submit(api, order, _say, force=force))
    except KeyboardInterrupt:
        _say(_interrupted(outcome.submissions[-1] if outcome.submissions else None))
        raise typer.Exit(INTERRUPTED) from None
    _print(order, outcome, json)


@contextmanager
def _observed(spec: RunSpec) -> Iterator[Observer]:
    """Show the table of rounds while the context lasts, if the store can be read from here, or else how the tasks go on."""
    from fedstream.kubeflow.api import CHECK_S
    from fedstream.kubeflow.observer import Observer

    try:
        store = ObjectStore(StoreSettings.from_env())
        ObjectStore(store.settings, patience_s=CHECK_S).check()
    except FedstreamError as error:
        _say(f"no table of the rounds, since the store cannot be read from here: {error}")
        yield Observer(_say)
        return
    with Watch(store, spec.run, spec.rounds, err):
        yield Observer(lambda _: None, store)


def _interrupted(last: Submission | None) -> str:
    if last is None:
        return "interrupted; the same command goes on where it stopped"
    shows = f", and {last.url} shows it" if last.url else ""
    return f"interrupted; {last.run_id} goes on in the cluster: the same command follows it again{shows}"


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _print(order: Order, outcome: Outcome, json: bool) -> None:
    """Print what came of a run."""
    run, finished, result = order.spec.run, outcome.finished, outcome.result
    if json:
        submissions = [
            {
                "run_id": entry.run_id,
                "url": entry.url,
                "state": entry.progress and entry.progress.state,
                "passes": entry.progress and entry.progress.passes,
            }
            for entry in outcome.submissions
        ]
        ids = {"experiment_id": order.experiment_id, "pipeline_id": order.version.pipeline_id, "version_id": order.version.version_id}
        print_json({"run": run, "finished": finished, **{name: result.get(name) for name in RESULT}, "submissions": submissions, **ids})
    elif finished and result.get("version"):
        what = f"version {result['version']} of {result['model']}; {metrics_text(result['metrics'])}"
        out.print(f"run {run} is finished, and published as {what}", highlight=False, soft_wrap=True)
    elif finished and result.get("reason"):
        out.print(f"run {run} is finished, and not published: {result['reason']}", markup=False, highlight=False, soft_wrap=True)
    elif finished:
        out.print(
            f"run {run} is finished and published: `fedstream rounds {run}` shows it where the store can be read", highlight=False, soft_wrap=True
        )
    elif finished is not None:
        out.print(f"run {run} is not known to be finished: submit it again to go on, or use --until-done", highlight=False, soft_wrap=True)
