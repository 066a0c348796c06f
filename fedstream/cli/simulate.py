"""The command `fedstream simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.cli.options import INTERRUPTED, Json, with_options
from fedstream.cli.output import err
from fedstream.cli.run import print_outcome
from fedstream.cli.run_table import RunTable
from fedstream.cli.watch import watching
from fedstream.record.spec import RunSpec
from fedstream.simulation.federation import Setting
from fedstream.simulation.simulate import DEFAULTS, LEFT_OUT
from fedstream.steps.matching import CLIENTS

OWN_DEFAULTS: dict[str, tuple[Any, str]] = {
    **{name: (value, value) for name, value in DEFAULTS.items()},
    "model": ("", "the data set's"),
    "validation_rate": (None, "0.1, or 0 with test records"),
}


@with_options(RunSpec, "spec", leave_out=LEFT_OUT, defaults=OWN_DEFAULTS)
def simulate_command(
    spec: dict[str, Any],
    dataset: Annotated[
        str,
        typer.Option(help="`digits`, or an .npz file with x_train and y_train, or x and y; x_test and y_test measure."),
    ] = "digits",
    clients: Annotated[int, typer.Option(min=1, max=CLIENTS, help="Number of virtual clients.")] = Setting.clients,
    partition: Annotated[
        str,
        typer.Option(
            help="How the records are divided: iid, shards[:PER_CLIENT] of records sorted by label, dirichlet[:ALPHA], "
            "or column:NAME, an array of the file whose values are the clients."
        ),
    ] = Setting.partition,
    attack: Annotated[
        str,
        typer.Option(
            help="What attackers send: labelflip, signflip, scaled, nan, freerider or colluding; "
            "signflip, scaled and colluding take a strength, as in scaled:20.",
            show_default="no attack",
        ),
    ] = "",
    attackers: Annotated[int, typer.Option(min=0, help="Number of clients that attack.")] = 0,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that keeps the run, so that it can be continued and verified."),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="File for the log of the steps.", show_default="no log")] = None,
    json: Json = False,
) -> None:
    """Run a federated training of virtual clients in this process, without any server.

    The steps, the strategies and the ledger are those of a real run. With --store, a simulation that was stopped
    continues when it is started again, and `fedstream rounds`, `verify`, `report` and `runs` read it with the same
    option.

        fedstream simulate --clients 100 --partition dirichlet:0.1 --strategy FedTrimmedAvg --attack signflip
        --attackers 20
    """
    from fedstream.simulation.simulate import added, simulate
    from fedstream.simulation.source import read_source
    from fedstream.store.disk import DiskStore
    from fedstream.store.memory import MemoryStore

    setting = Setting(clients, partition, attack, attackers)
    place = DiskStore(store) if store else MemoryStore()
    try:
        source = read_source(dataset)
        values = spec | {"model": added(place, spec["model"] or source.model)}
        outcome = simulate(source, setting, values, place, log, watching(err, RunTable.bar))
    except KeyboardInterrupt:
        advice = (
            "run the same command again to continue where it stopped" if store else "nothing is kept without --store"
        )
        err.print(f"interrupted; {advice}")
        raise typer.Exit(INTERRUPTED) from None
    print_outcome(outcome, json)
