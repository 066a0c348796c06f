"""`fedstream submit` and `fedstream doctor`: their words; the work is done elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstream.options import with_spec_options
from fedstream.output import err, metrics_text, out, print_json

if TYPE_CHECKING:
    from fedstream.kubeflow.checks import Finding
    from fedstream.kubeflow.following import Submission
    from fedstream.kubeflow.submission import Order, Outcome

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
SubmitJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document on standard output. What the run came to, such as version and metrics, is in it once a followed submission has "
        "succeeded, and null where the store cannot be read from here.",
    ),
]
KubeflowNamespace = Annotated[str, typer.Option(help="Where Kubeflow Pipelines is installed.")]
Token = Annotated[Path | None, typer.Option(help="File of the token that --host asks for.", show_default="the variable KFP_TOKEN")]
ConfigMap = Annotated[str | None, typer.Option(help="Config map with the addresses of Kafka and the store.", show_default="the form's")]
StoreSecret = Annotated[str | None, typer.Option(help="Secret with the store's accesskey and secretkey.", show_default="the form's")]
KafkaSecret = Annotated[str | None, typer.Option(help="Secret with Kafka's username and password; may be absent.", show_default="the form's")]

RESULT = ("model", "version", "reason", "rounds", "round", "metrics", "weights_digest")
"""What `fedstream run --json` says of a run, by the store."""

PackageFile = Annotated[Path | None, typer.Option(help="Compiled pipeline.", show_default="fedstream's own")]


@with_spec_options
def submit(
    spec: dict[str, Any],
    node_budget: Annotated[int | None, typer.Option(min=1, help="Argo nodes one submission may use.", show_default="the form's")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory at which a step that holds records or weights is ended, as 4Gi.", show_default="the form's")
    ] = None,
    config_map: ConfigMap = None,
    store_secret: StoreSecret = None,
    client_store_secret: Annotated[
        str | None, typer.Option(help="The same for the pods of clients, whose key may do less.", show_default="the store's secret")
    ] = None,
    kafka_secret: KafkaSecret = None,
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
    from fedstream.kubeflow.sight import sight
    from fedstream.kubeflow.values import form_values
    from fedstream.spec import parse_spec

    parsed, package = parse_spec(spec), read_package(package_file or shipped_pipeline())
    given = {
        "node_budget": node_budget,
        "memory": memory,
        "config_map": config_map,
        "store_secret": store_secret,
        "client_store_secret": client_store_secret,
        "kafka_secret": kafka_secret,
    }
    form_values(parsed, given, package)
    api = PipelinesApi(connect(host, token_file, ca_file, kubeflow_namespace))
    outcome = work.Outcome()
    try:
        order = work.prepare(api, parsed, given, package, experiment_name, namespace)
        if watch or until_done:
            with sight(parsed, err, _say) as seen:
                work.run_until(api, order, tries if until_done else None, outcome, _say, seen, force=force)
        else:
            outcome.submissions.append(work.submit(api, order, _say, force=force))
    except KeyboardInterrupt:
        _say(_interrupted(outcome.submissions[-1] if outcome.submissions else None))
        raise typer.Exit(INTERRUPTED) from None
    _print(order, outcome, json)


def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="Look at a Kubernetes cluster, through the kubeconfig or from inside a pod.")] = False,
    namespace: Annotated[
        str, typer.Option(help="Where the pipeline's pods run: a profile's, where Kubeflow has users.", show_default="Kubeflow's")
    ] = "",
    kubeflow_namespace: KubeflowNamespace = "kubeflow",
    config_map: ConfigMap = None,
    store_secret: StoreSecret = None,
    kafka_secret: KafkaSecret = None,
    package_file: PackageFile = None,
    image: Annotated[list[str] | None, typer.Option(help="Image to pull; may be repeated.", show_default="those of the pipeline")] = None,
    placement: Annotated[str, typer.Option(help="Placement that must fit a node, as in `fedstream run`. JSON, or a file of it.")] = "",
    skip: Annotated[
        list[str] | None, typer.Option(help="Check to leave out, by its first words, such as `kubeflow` or `image`; may be repeated.")
    ] = None,
    deadline: Annotated[int, typer.Option(min=1, help="Seconds for all of it; a large image may take minutes to pull.")] = 300,
    json: Json = False,
) -> None:
    """Find out what is wrong: with this machine's settings, or with --cluster, with a Kubernetes cluster. Exits with 1 if anything is.

    In a cluster one short-lived pod pulls the images, and tries the brokers and the bucket from inside, with the config map and secrets of a run.

        fedstream doctor --cluster --namespace kubeflow
    """
    from fedstream.kubeflow.checks import examine
    from fedstream.options import parse_document
    from fedstream.spec import parse_spec

    until = time.monotonic() + deadline
    if cluster:
        from fedstream.kubeflow.cluster_checks import ClusterOptions, cluster_checks
        from fedstream.kubeflow.package import read_package, shipped_pipeline

        package = read_package(package_file or shipped_pipeline())
        names = package.names({"config_map": config_map, "store_secret": store_secret, "kafka_secret": kafka_secret})
        wanted = (
            parse_spec({"run": "doctor", "model": "doctor", "placement": parse_document("placement", placement)}).placement if placement else None
        )
        options = ClusterOptions(
            namespace or kubeflow_namespace, kubeflow_namespace, package, names, tuple(image or package.images), wanted, until, tuple(skip or ())
        )
        checks = cluster_checks(options)
    else:
        from fedstream.kubeflow.local_checks import local_checks

        checks = local_checks()
    try:
        findings = examine(checks, until, skip or [], (lambda _: None) if json else _show)
    except KeyboardInterrupt:
        _say("interrupted; nothing was left behind")
        raise typer.Exit(INTERRUPTED) from None
    if json:
        print_json([finding.as_json() for finding in findings])
    raise typer.Exit(1 if any(finding.state == "fault" for finding in findings) else 0)


def _show(finding: Finding) -> None:
    """Print one line of the report."""
    colour = {"ok": "green", "fault": "bold red", "skipped": "dim"}[finding.state]
    out.print(f"[{colour}]{finding.state:7}[/]", end=" ")
    out.print(f"{finding.check}: {finding.text}", markup=False, highlight=False, soft_wrap=True)


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
