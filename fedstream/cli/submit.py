"""The command `fedstream submit`."""

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
        help="Print one JSON document on standard output. It contains the result of the run, "
        "such as its version and metrics, once a followed "
        "submission has succeeded; the result is null if the store cannot be read from here.",
    ),
]
Token = Annotated[
    Path | None, typer.Option(help="File with the token for --host.", show_default="the variable KFP_TOKEN")
]

RESULT = ("model", "version", "reason", "rounds", "round", "metrics", "weights_digest")
"""The fields of `fedstream run --json` that are read from the store."""


@with_options(RunSpec, "spec")
@with_options(PipelineOptions, "given", unset=THE_FORMS)
def submit(
    spec: dict[str, Any],
    given: dict[str, Any],
    package_file: PackageFile = None,
    experiment_name: Annotated[
        str, typer.Option(help="Experiment of the run, which is created if it does not exist.")
    ] = "fedstream",
    namespace: Annotated[
        str, typer.Option(help="Namespace of your profile, in multi-user Kubeflow.", show_default="none")
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            help="Address of Kubeflow Pipelines.", show_default="KF_PIPELINES_ENDPOINT, or the kubeconfig's cluster"
        ),
    ] = "",
    token_file: Token = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the certificate authority of --host.", show_default="the public certificate authorities"
        ),
    ] = None,
    kubeflow_namespace: KubeflowNamespace = "kubeflow",
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the submission to its end, with the table of a local run.")
    ] = False,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Follow the submission, and submit the run again until it is finished.")
    ] = False,
    tries: Annotated[int, typer.Option(min=1, help="Maximum number of submissions with --until-done.")] = 10,
    force: Annotated[
        bool, typer.Option("--force", help="Submit the run even if a placement fits no node of the cluster.")
    ] = False,
    json: SubmitJson = False,
) -> None:
    """Submit a federated run to Kubeflow Pipelines, with the options of `fedstream run`.

    Without --host, a pod connects directly to the Kubeflow of its own cluster, and any other machine connects through
    the kubeconfig. A run that is already in progress is not started twice; the same command follows it again.

    Through the kubeconfig, the command also checks the cluster, as far as your permissions allow. Placements that fit
    no node are not submitted without --force. While it follows a run, it reports which pods wait for a node and why. If
    the workflow of a run no longer exists, it reports that, or with --until-done retires the submission and submits the
    run again.

    Following ends with an error if nothing has changed for --round-deadline plus half an hour: the deadline limits each
    step, and a pod should not take longer than half an hour to start. A terminated run gets five minutes to end. Rounds
    and results are read from the store at S3_ENDPOINT_URL; if it cannot be read, the states of Kubeflow's tasks are
    shown.

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
    """Show the table of rounds during the context if the store can be read from here, else the state of the tasks."""
    from fedstream.kubeflow.calls import CHECK_S
    from fedstream.kubeflow.observer import Observer

    try:
        store = ObjectStore(StoreSettings.from_env())
        ObjectStore(store.settings, patience_s=CHECK_S).check()
    except FedstreamError as error:
        _say(f"the table of rounds is not shown, because the store cannot be read from here: {error}")
        yield Observer(_say)
        return
    with Watch(store, spec.run, spec.rounds, err):
        yield Observer(lambda _: None, store)


def _interrupted(last: Submission | None) -> str:
    if last is None:
        return "interrupted; run the same command again to continue where it stopped"
    shows = f", or open {last.url}" if last.url else ""
    return f"interrupted; {last.run_id} continues in the cluster: run the same command to follow it again{shows}"


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _print(order: Order, outcome: Outcome, json: bool) -> None:
    """Print the outcome of a run."""
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
        ids = {
            "experiment_id": order.experiment_id,
            "pipeline_id": order.version.pipeline_id,
            "version_id": order.version.version_id,
        }
        print_json(
            {
                "run": run,
                "finished": finished,
                **{name: result.get(name) for name in RESULT},
                "submissions": submissions,
                **ids,
            }
        )
    elif finished and result.get("version"):
        what = f"version {result['version']} of {result['model']}; {metrics_text(result['metrics'])}"
        out.print(f"run {run} is finished and published as {what}", highlight=False, soft_wrap=True)
    elif finished and result.get("reason"):
        out.print(
            f"run {run} is finished but not published: {result['reason']}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    elif finished:
        out.print(
            f"run {run} is finished and published: `fedstream rounds {run}` shows it if the store can be read",
            highlight=False,
            soft_wrap=True,
        )
    elif finished is not None:
        out.print(
            f"run {run} is not known to be finished: submit it again to continue it, or use --until-done",
            highlight=False,
            soft_wrap=True,
        )
