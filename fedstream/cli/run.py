"""The commands `fedstream run` and `fedstream demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from fedstream.cli.options import INTERRUPTED, Json, with_options
from fedstream.cli.output import err, metrics_text, out, print_json, print_warnings
from fedstream.cli.watch import watching
from fedstream.errors import UsageError
from fedstream.record.attendance import Absence
from fedstream.record.spec import RunSpec
from fedstream.text import count


@with_options(RunSpec, "spec")
def run_command(
    spec: dict[str, Any],
    runner: Annotated[
        Literal["inprocess", "kfp"],
        typer.Option(
            help="Run the steps in this process, or run the compiled pipeline with kfp.local to test what "
            "Kubeflow runs. The digests are the same."
        ),
    ] = "inprocess",
    node_budget: Annotated[
        int, typer.Option(min=1, help="Maximum number of Argo nodes of this submission; one machine has no such limit.")
    ] = 10**9,
    log: Annotated[
        Path | None, typer.Option(help="File for the log of the steps.", show_default="in the state folder")
    ] = None,
    json: Json = False,
) -> None:
    """Start or continue a federated training, up to a published model.

    The state of a run is in the store: a run that was killed, failed or stopped continues when it is run again with the
    same name and values.

        fedstream run --name first --model builtin:digits-mlp --rounds 3
    """
    from fedstream.local.runs import run

    try:
        outcome = run(spec, runner, node_budget, log, watching(err))
    except KeyboardInterrupt:
        err.print("interrupted; run the same command again to continue where it stopped")
        raise typer.Exit(INTERRUPTED) from None
    print_outcome(outcome, json)


def demo(
    clients: Annotated[int, typer.Option(min=1, max=100, help="Number of data owners.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Number of training rounds.")] = 3,
    dataset: Annotated[
        str, typer.Option(help="`digits`, or an .npz file with x_train, y_train, x_test, y_test.")
    ] = "digits",
    partition: Annotated[
        Literal["iid", "shards", "dirichlet"], typer.Option(help="How the records are divided among the clients.")
    ] = "iid",
    name: Annotated[str, typer.Option(help="Name of the run.", show_default="a new name")] = "",
    json: Json = False,
) -> None:
    """Stream a data set through a real Kafka, train on it with the compiled pipeline, publish, verify and report.

    This starts the embedded Kafka and object store unless others are configured or they are already running, and leaves
    them running. Stop them with `fedstream services down`.
    """
    from fedstream.local.demo import run_demo
    from fedstream.stream.announcement import invalid_client_name

    if name and (reason := invalid_client_name(f"{name}-client-{clients}")):
        raise UsageError(f"--name {name!r} cannot be used, because clients are named after it: {reason}")
    outcome = run_demo(
        clients, rounds, dataset, partition, name, lambda line: err.print(line, highlight=False), watching(err)
    )
    print_outcome(outcome, json)


def print_outcome(outcome: dict[str, Any], json: bool) -> None:
    """Print the outcome of a run."""
    if json:
        print_json(outcome)
        return
    if outcome["version"]:
        came = f"published version {outcome['version']} of {outcome['model']}"
    elif outcome["finished"]:
        came = f"not published: {outcome['reason']}"
    elif "idle" in outcome:
        came = f"nothing published: {outcome['reason']}; run it again to go on"
    else:
        came = "nothing published yet: the run is not finished; run it again to continue"
    there, records = outcome["clients"], outcome["records"]
    clients = f" with {there['took_part']} of {count(there['meant'], 'client')}" if outcome["degraded"] else ""
    line = Text.assemble(
        (f"run {outcome['run']}", "bold"), f": {count(outcome['rounds'], 'round')}", (clients, "yellow"), f", {came}"
    )
    out.print(line, soft_wrap=True)
    print_warnings([str(Absence(**absence)) for absence in outcome["absent"]])
    said = {
        "records": f"trained on {records['trained_on']:,}"
        + (f" of {records['announced']:,} announced" if records["announced"] else ""),
        "metrics": metrics_text(outcome["metrics"]),
        "ended": outcome.get("idle", ""),
    }
    for name, value in (outcome | said).items():
        if name in ("records", "metrics", "ended", "weights_digest", "head", "verified", "report") and value:
            out.print(f"  {name.replace('_', ' ')}: {value}", highlight=False, markup=False, soft_wrap=True)
