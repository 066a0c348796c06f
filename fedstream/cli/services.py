"""The command `fedstream services`, for the embedded Kafka and object store of this machine."""

from __future__ import annotations

import shlex
import signal
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from fedstream.cli.output import err, out, print_json, print_table
from fedstream.errors import UsageError
from fedstream.local.platform import Platform
from fedstream.local.status import ServiceStatus

services_app = typer.Typer(no_args_is_help=True, help="Manage an embedded Apache Kafka and S3 store on this machine.")

LOOK_S = 1.0
"""Seconds between checks of the servers while in the foreground."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def _platform(secure: bool = False, owners: str = "") -> Platform:
    names = [name.strip() for name in owners.split(",") if name.strip()]
    return Platform(say=lambda line: err.print(line, highlight=False, markup=False), secure=secure, owners=names)


@services_app.command()
def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground, and stop the servers on Ctrl-C.")
    ] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Start a Kafka with TLS, logins and access rights, which has data of its own."),
    ] = False,
    owners: Annotated[
        str, typer.Option(help="Data owners to add as users of the secured Kafka, separated by commas.")
    ] = "",
    json: Json = False,
) -> None:
    """Start Kafka and the store unless they are running, and wait until they work.

    If KAFKA_BOOTSTRAP_SERVERS or S3_ENDPOINT_URL is set, that server is used instead and nothing is started for it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if owners and not secure:
        raise UsageError("--owners adds users of the secured Kafka; add --secure")
    platform = _platform(secure, owners)
    try:
        with err.status("Starting Kafka and the object store"):
            platform.start(bound=foreground)
    except KeyboardInterrupt:
        err.print("interrupted; what this command started has been stopped")
        raise typer.Exit(130) from None
    try:
        _show(platform, json)
        if foreground:
            _stay(platform)
    finally:
        if foreground:
            platform.stop_own()


def _interrupt(*_: object) -> None:
    """Clean up after `kill` and a closed terminal as after Ctrl-C, even in the background, where Ctrl-C is ignored."""
    raise KeyboardInterrupt


def _stay(platform: Platform) -> None:
    err.print(
        "Press Ctrl-C to stop the servers"
        if platform.own
        else "Another command started the servers; Ctrl-C leaves them running"
    )
    with suppress(KeyboardInterrupt):
        while True:
            platform.check_alive()
            time.sleep(LOOK_S)


@services_app.command()
def status(json: Json = False) -> None:
    """Show the state of the servers after trying to use them. The exit code is 1 unless all of them work."""
    services = _show(_platform(), json)
    raise typer.Exit(0 if all(service.running and not service.problem for service in services) else 1)


@services_app.command()
def env(
    user: Annotated[
        str, typer.Option(help="User of the secured Kafka, such as a data owner, instead of the run's own.")
    ] = "",
    json: Json = False,
) -> None:
    """Print the variables that other programs need: `eval "$(fedstream services env)"`.

    For another user, these are the variables for Kafka alone: a data owner does not need the object store.
    """
    platform = _platform()
    variables = platform.env_of(user) if user else platform.env
    if json:
        print_json(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")


@services_app.command()
def down(json: Json = False) -> None:
    """Stop the servers; their data is kept for the next `up`."""
    platform = _platform()
    running = [part.name for part in (platform.kafka, platform.seaweedfs) if part.running]
    platform.stop()
    if json:
        print_json({"stopped": running})
    else:
        out.print(f"stopped {', '.join(running)}" if running else "nothing was running", highlight=False)


@services_app.command()
def fetch() -> None:
    """Download Apache Kafka to the user's cache folder, so that `up` is quick."""
    from fedstream.local.jars import kafka_classpath
    from fedstream.local.java import find_java

    find_java()
    kafka_classpath(lambda line: err.print(line, highlight=False, markup=False))


def _show(platform: Platform, json: bool) -> list[ServiceStatus]:
    services = platform.status()
    if json:
        print_json({"state": str(platform.state_dir), "services": [asdict(service) for service in services]})
        return services
    rows = [
        (
            service.name,
            service.title,
            service.state,
            service.address,
            str(service.pid or ""),
            f"{service.memory_bytes / 2**20:.0f} MiB" if service.memory_bytes else "",
            f"{service.uptime_s:.0f} s" if service.uptime_s else "",
        )
        for service in services
    ]
    print_table(f"data in {platform.state_dir}", ("service", "is", "state", "address", "pid", "memory", "up for"), rows)
    return services
