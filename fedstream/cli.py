"""The `fedstream` command. Each command does its work elsewhere; here are only its words. Every command also speaks --json."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text
from typer.exceptions import TyperException

from fedstream import __version__
from fedstream.attendance import Absence
from fedstream.errors import FedstreamError, UsageError
from fedstream.kubeflow.cli import doctor, submit
from fedstream.local.cli import services_app
from fedstream.local.platform import adopt_running_platform
from fedstream.model.cli import model_app
from fedstream.options import with_spec_options
from fedstream.output import err, metrics_text, out, print_error, print_json, print_table, print_warnings, write_file
from fedstream.report.parts import RoundView
from fedstream.report.runs_cli import runs
from fedstream.report.text import count, duration
from fedstream.serving.cli import infer
from fedstream.stream.cli import stream_app

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Federated learning on Kafka streams, as Kubeflow pipelines.\n\nTry `fedstream demo`, which brings its own servers and needs no cluster.",
)
app.add_typer(services_app, name="services")
app.add_typer(stream_app, name="stream")
app.add_typer(model_app, name="model")
app.command()(submit)
app.command()(infer)
app.command()(runs)
app.command()(doctor)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
RunName = Annotated[str, typer.Argument(help="Name of the run.", show_default=False)]


@app.command("run")
@with_spec_options
def run_command(
    spec: dict[str, Any],
    runner: Annotated[
        Literal["inprocess", "kfp"],
        typer.Option(help="The steps in this process, or the compiled pipeline under kfp.local, as a test of what Kubeflow runs. Same digests."),
    ] = "inprocess",
    node_budget: Annotated[int, typer.Option(min=1, help="Argo nodes this submission may use; on one machine there is no such limit.")] = 10**9,
    log: Annotated[Path | None, typer.Option(help="File for what the steps say.", show_default="state folder")] = None,
    json: Json = False,
) -> None:
    """Run a federated training, or go on with one, to a published model.

    The state of a run is in the store: a run that was killed, failed or stopped goes on when it is run again with the same name and values.

        fedstream run --name first --model builtin:digits-mlp --rounds 3
    """
    from fedstream.local.runs import run

    try:
        outcome = run(spec, runner, node_budget, log, err)
    except KeyboardInterrupt:
        err.print("interrupted; run the same command again to go on where it stopped")
        raise typer.Exit(INTERRUPTED) from None
    print_outcome(outcome, json)


@app.command()
def rounds(run: RunName, json: Json = False) -> None:
    """Show the rounds of a run: clients, records, metrics and decision of each, and who did not take part."""
    from fedstream.local.runs import attended
    from fedstream.report.history import to_history
    from fedstream.report.view import build_view
    from fedstream.store.objects import ObjectStore

    view = build_view(ObjectStore.from_env(), run)
    if json:
        commits = [item.commit for item in view.rounds]
        print_json({"run": run, **attended(view.record, commits), "rounds": to_records(to_history(view).rounds)})
        return
    decided = any(item.commit.decision.action == "stop" for item in view.rounds)
    columns = ["round", "kind", *view.metric_names, "clients", "records", "time", *(["decision"] if decided else [])]
    print_table(f"run {run}: {view.progress}", columns, [_row(item, view.metric_names, decided) for item in view.rounds])
    print_warnings([str(absence) for absence in view.attendance.absent])


def _row(item: RoundView, names: list[str], decided: bool) -> list[object]:
    """Return a round as it stands in a table that fits 80 columns; --json has everything."""
    values = item.metrics.values if item.metrics else {}
    clients = f"{len(item.accepted)}/{len(item.commit.clients)}" if item.commit.clients else ""
    time = "" if item.seconds is None else duration(item.seconds)
    decision = f"stop: {item.commit.decision.reason}" if item.commit.decision.action == "stop" else ""
    return [item.number, item.kind, *(values.get(name, "") for name in names), clients, item.records, time, *([decision] if decided else [])]


@app.command()
def verify(
    run: RunName,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Also read the records again and check their digests, and measure the models on the evaluation topic again."),
    ] = False,
    expect: Annotated[str, typer.Option(metavar="HEAD", help="Digest of a commit that the run must have, as an earlier verify printed it.")] = "",
    json: Json = False,
) -> None:
    """Verify a run: walk the hash chain, hash every object, judge every update, and aggregate every round again, bit for bit.

    Needs the bucket alone; with --stream also the brokers. Exits with 1 if anything does not agree.

    Whoever can delete from the bucket can remove the last rounds of a run without leaving a trace there. Keep the head that this command prints, and
    give it to --expect later: the run must still have that commit.
    """
    from fedstream.audit import verify_run
    from fedstream.store.objects import ObjectStore

    if expect and not re.fullmatch("[0-9a-f]{64}", expect):
        raise UsageError(f"--expect {expect!r}: expected the 64 hexadecimal digits that `fedstream verify` prints as the head")
    report = verify_run(ObjectStore.from_env(), run, stream=stream, expect=expect)
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            out.print("[red]✗[/]", end=" ")
            out.print(f"{problem.key}: {problem.what}", markup=False, highlight=False, soft_wrap=True)
        if report.ok:
            read = f", {report.records_checked} records" if stream else ""
            checked = f"{count(report.rounds + 1, 'commit')}, {report.objects_checked} objects{read}"
            out.print(f"[green]✓[/] run {run}: {checked}, every global model reproduced bit for bit", highlight=False)
            out.print(
                f"  head: {report.head} (keep it: `fedstream verify {run} --expect HEAD` tells later if rounds were removed)",
                highlight=False,
                soft_wrap=True,
            )
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def rollback(
    run: RunName,
    to: Annotated[int, typer.Option(min=0, help="Round whose global model the next round builds on; 0 for the initial model.", show_default=False)],
    json: Json = False,
) -> None:
    """Go back to the global model of an earlier round, for instance after an update that spoiled the model.

    Appends a commit, so the ledger stays whole and verifiable. Rounds after that one no longer count; run the same run again to train them anew.

        fedstream rollback first --to 3
    """
    from fedstream.state import RunState
    from fedstream.steps.rollback import rollback as go_back

    commit = go_back(RunState.from_env(run), to)
    if json:
        print_json(commit.model_dump(mode="json"))
    else:
        out.print(f"run {run}: round {commit.round} goes back to the model of round {to}; run it again to go on from there", highlight=False)


@app.command()
def report(
    run: RunName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file to write.", show_default="RUN.html")] = None,
    json: Json = False,
) -> None:
    """Write the report of a run: one self-contained HTML file."""
    from fedstream.report.html import render_report
    from fedstream.report.view import build_view
    from fedstream.store.objects import ObjectStore

    path = output or Path(f"{run}.html")
    write_file(path, render_report(build_view(ObjectStore.from_env(), run)).encode())
    if json:
        print_json({"run": run, "report": str(path)})
    else:
        out.print(f"wrote {path}", highlight=False)


@app.command()
def demo(
    clients: Annotated[int, typer.Option(min=1, max=100, help="Data owners.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Training rounds.")] = 3,
    dataset: Annotated[str, typer.Option(help="`digits`, or an .npz file with x_train, y_train, x_test, y_test.")] = "digits",
    partition: Annotated[Literal["iid", "shards", "dirichlet"], typer.Option(help="How records are dealt to the clients.")] = "iid",
    name: Annotated[str, typer.Option(help="Name of the run.", show_default="new")] = "",
    json: Json = False,
) -> None:
    """Stream a data set through a real Kafka, train on it with the compiled pipeline, publish, verify and report.

    Starts the embedded Kafka and object store if none is set or running, and leaves them running: end them with `fedstream services down`.
    """
    from fedstream.local.demo import run_demo
    from fedstream.stream.announcement import invalid_client_name

    if name and (reason := invalid_client_name(f"{name}-client-{clients}")):
        raise UsageError(f"--name {name!r}: clients are named after it, and {reason}")
    outcome = run_demo(clients, rounds, dataset, partition, name, err)
    print_outcome(outcome, json)


def print_outcome(outcome: dict[str, Any], json: bool) -> None:
    """Print what came of a run."""
    if json:
        print_json(outcome)
        return
    if outcome["version"]:
        came = f"published version {outcome['version']} of {outcome['model']}"
    elif outcome["finished"]:
        came = f"not published: {outcome['reason']}"
    else:
        came = "published nothing yet: the run is not finished, run it again to go on"
    there, records = outcome["clients"], outcome["records"]
    clients = f" with {there['took_part']} of {count(there['meant'], 'client')}" if outcome["degraded"] else ""
    line = Text.assemble((f"run {outcome['run']}", "bold"), f": {count(outcome['rounds'], 'round')}", (clients, "yellow"), f", {came}")
    out.print(line, soft_wrap=True)
    print_warnings([str(Absence(**absence)) for absence in outcome["absent"]])
    said = {"records": f"trained on {records['trained_on']:,} of {records['announced']:,} announced", "metrics": metrics_text(outcome["metrics"])}
    for name, value in (outcome | said).items():
        if name in ("records", "metrics", "weights_digest", "head", "verified", "report") and value:
            out.print(f"  {name.replace('_', ' ')}: {value}", highlight=False, markup=False, soft_wrap=True)


def to_records(frame: Any) -> list[dict[str, Any]]:
    """Turn a DataFrame into JSON values; missing ones become null."""
    import json

    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return records


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand not in ("services", "submit"):  # a cluster does not use the platform of this machine
        adopt_running_platform()


def main() -> None:
    """Run the command line: whatever is wrong is one line and an exit code, 2 for a wrong command and 1 for a failed one; Ctrl-C is 130."""
    try:
        sys.exit(app(standalone_mode=False))
    except FedstreamError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except TyperException as error:
        print_error(_usage(error))
        sys.exit(error.exit_code)


def _usage(error: TyperException) -> str:
    """Say what is wrong with a command line, in one line; Typer would draw a box around it."""
    context = getattr(error, "ctx", None)
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{said}; see `{context.command_path} --help`" if context else said


if __name__ == "__main__":
    main()
