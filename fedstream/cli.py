"""The `fedstream` command. Each command does its work elsewhere; here are only its words. Every command also speaks --json."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from fedstream import __version__
from fedstream.errors import FedstreamError, UsageError
from fedstream.kubeflow.cli import doctor, submit
from fedstream.local.cli import services_app
from fedstream.local.platform import adopt_running_platform
from fedstream.model.cli import model_app
from fedstream.options import with_spec_options
from fedstream.output import err, metrics_text, out, print_error, print_json, print_table, write_file
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
    """Show the rounds of a run: clients, records, metrics and decision of each."""
    from fedstream.report.history import history

    frame = history(run).rounds
    if json:
        print_json({"run": run, "rounds": to_records(frame)})
    else:
        names = list(frame.columns)[2 : list(frame.columns).index("measured_on")]
        print_table(
            f"run {run}", ["round", "kind", *names, "clients", "records", "time", "decision"], [_row(entry, names) for entry in to_records(frame)]
        )


def _row(entry: dict[str, Any], names: list[str]) -> list[object]:
    """Return a round as it stands in a table that fits 80 columns; --json has everything."""
    measured = ["" if entry[name] is None else entry[name] for name in names]
    clients = f"{entry['accepted']}/{entry['clients']}" if entry["clients"] else ""
    time = "" if entry["seconds"] is None else duration(entry["seconds"])
    decision = f"stop: {entry['reason']}" if entry["decision"] == "stop" else ""
    return [entry["round"], entry["kind"], *measured, clients, entry["records"], time, decision]


@app.command()
def verify(
    run: RunName,
    stream: Annotated[bool, typer.Option("--stream", help="Also read the records again, and check their digests.")] = False,
    json: Json = False,
) -> None:
    """Verify a run: walk the hash chain, hash every object, and aggregate every round again, bit for bit.

    Needs the bucket alone; with --stream also the clients' brokers. Exits with 1 if anything does not agree.
    """
    from fedstream.audit import stream_check_of, verify_run
    from fedstream.state import RunState

    state = RunState.from_env(run)
    report = verify_run(state.store, run, stream_check_of(state.record, state.record.spec.round_deadline_s) if stream else None)
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            out.print(f"[red]✗[/] {problem.key}: {problem.what}", highlight=False)
        if report.ok:
            read = f", {report.records_checked} records" if stream else ""
            checked = f"{report.rounds} rounds, {report.objects_checked} objects{read}"
            out.print(f"[green]✓[/] run {run}: {checked}, every global model reproduced bit for bit", highlight=False)
    raise typer.Exit(0 if report.ok else 1)


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
    version = (
        f"version {outcome['version']} of {outcome['model']}" if outcome["version"] else "nothing yet: the run is not finished, run it again to go on"
    )
    out.print(f"[bold]run {outcome['run']}[/]: {count(outcome['rounds'], 'round')}, published {version}", highlight=False, soft_wrap=True)
    for name, value in (outcome | {"metrics": metrics_text(outcome["metrics"])}).items():
        if name in ("metrics", "weights_digest", "verified", "report") and value:
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
