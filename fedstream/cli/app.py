"""The root of the `fedstream` command line, and its error handling."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from fedstream import __version__
from fedstream.cli.doctor import doctor
from fedstream.cli.infer import infer
from fedstream.cli.model import model_app
from fedstream.cli.output import print_error
from fedstream.cli.results import contributions, report, rollback, rounds, verify
from fedstream.cli.run import demo, run_command
from fedstream.cli.runs import runs
from fedstream.cli.services import services_app
from fedstream.cli.simulate import simulate_command
from fedstream.cli.statistics import statistics
from fedstream.cli.strategies import strategies
from fedstream.cli.stream import stream_app
from fedstream.cli.submit import submit
from fedstream.cli.trace import trace
from fedstream.errors import FedstreamError
from fedstream.local.platform import adopt_running_platform

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Federated learning on Kafka streams, as Kubeflow pipelines.\n\nTry `fedstream demo`, "
    "which starts its own servers and needs no cluster.",
)
app.add_typer(services_app, name="services")
app.add_typer(stream_app, name="stream")
app.add_typer(model_app, name="model")
app.command("run")(run_command)
app.command("simulate")(simulate_command)
for command in (
    demo,
    rounds,
    contributions,
    statistics,
    verify,
    trace,
    rollback,
    report,
    runs,
    strategies,
    submit,
    infer,
    doctor,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand not in (
        "services",
        "simulate",
        "strategies",
        "submit",
    ):  # a cluster does not use this machine's platform
        adopt_running_platform()


def main() -> None:
    """Run the command line.

    An error is printed as one line. The exit code is 2 for an invalid command, 1 for a failed one, and 130 for Ctrl-C.
    """
    try:
        sys.exit(app(standalone_mode=False))
    except FedstreamError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except TyperException as error:
        print_error(_usage(error))
        sys.exit(error.exit_code)


def _usage(error: TyperException) -> str:
    """Return what is wrong with a command line in one line; Typer would draw a box around it."""
    context = getattr(error, "ctx", None)
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{said}; see `{context.command_path} --help`" if context else said
