"""The commands on the record of a run: `fedstream rounds`, `contributions`, `verify`, `rollback` and `report`."""

from __future__ import annotations

import re
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Annotated, Any

import typer

from fedstream.cli.options import Json, RunName, StoreFolder, open_store
from fedstream.cli.output import out, print_json, print_table, print_warnings, write_file
from fedstream.errors import UsageError
from fedstream.report.elements import RoundView
from fedstream.text import count, duration, spans


def rounds(run: RunName, store: StoreFolder = None, json: Json = False) -> None:
    """Show the rounds of a run: clients, records, metrics and decision of each, and who did not take part."""
    from fedstream.report.history import to_history
    from fedstream.report.view import build_view
    from fedstream.steps.outcome import attended

    view = build_view(open_store(store), run)
    if json:
        commits = [item.commit for item in view.rounds]
        print_json({"run": run, **attended(view.record, commits), "rounds": to_records(to_history(view).rounds)})
        return
    decided = any(item.commit.decision.action == "stop" for item in view.rounds)
    columns = ["round", "kind", *view.metric_names, "clients", "records", "time", *(["decision"] if decided else [])]
    print_table(
        f"run {run}: {view.progress}", columns, [_row(item, view.metric_names, decided) for item in view.rounds]
    )
    print_warnings([str(absence) for absence in view.attendance.absent])


def _row(item: RoundView, names: list[str], decided: bool) -> list[object]:
    """Return the cells of a round in a table of 80 columns; --json prints everything."""
    values = item.metrics.values if item.metrics else {}
    clients = f"{len(item.accepted)}/{len(item.commit.clients)}" if item.commit.clients else ""
    time = "" if item.seconds is None else duration(item.seconds)
    decision = f"stop: {item.commit.decision.reason}" if item.commit.decision.action == "stop" else ""
    return [
        item.number,
        item.kind,
        *(values.get(name, "") for name in names),
        clients,
        item.records,
        time,
        *([decision] if decided else []),
    ]


def contributions(run: RunName, store: StoreFolder = None, json: Json = False) -> None:
    """Show what each client contributed to a run: its rounds, examples, and share of the global models.

    The norm is the mean length of its updates, and the cosine says how far they point in the direction that the global
    model took, from -1 to 1. The value is the amount by which the target metric is better with its update than without
    it; it is measured in runs with --leave-one-out. --json adds the numbers of each round.
    """
    from fedstream.report.contributions import contribution_rows
    from fedstream.report.history import CONTRIBUTION, to_history
    from fedstream.report.view import build_view

    view = build_view(open_store(store), run)
    rows = contribution_rows(view)
    if json:
        frame = to_history(view).clients
        frame = frame[(frame.kind == "training") & frame.accepted][["round", "client", "num_examples", *CONTRIBUTION]]
        print_json({"run": run, "clients": [asdict(row) for row in rows], "rounds": to_records(frame)})
        return
    print_table(
        f"run {run}: contributions in {count(view.trained, 'training round')}",
        ["client", "rounds", "examples", "share", "norm", "cosine", f"value ({view.metric})"],
        [["" if value is None else value for value in astuple(row)] for row in rows],
    )


def verify(
    run: RunName,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Also read the records again to check their digests, and evaluate the models on the evaluation "
            "topic again.",
        ),
    ] = False,
    expect: Annotated[
        str,
        typer.Option(
            metavar="HEAD",
            help="Digest of a commit that the run must contain, as printed by an earlier `fedstream verify`.",
        ),
    ] = "",
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """Verify a run.

    This walks the hash chain, hashes every object, judges every update, and aggregates every round again, bit for bit.
    It needs only the bucket, and with --stream also the brokers. The exit code is 1 if anything does not match. With
    FEDSTREAM_NOISE_SECRET, it also makes the noise of a private run again.

    Anyone who can delete objects from the bucket can remove the last rounds of a run without a trace. Keep the head
    that this command prints, and pass it to --expect later to check that the run still contains that commit.
    """
    from fedstream.audit import verify_run
    from fedstream.privacy.secret import noise_secret
    from fedstream.stream.broker import EnvironmentBrokers

    if stream and store:
        raise UsageError("--stream reads the records again, but those of a simulation end with it; leave out --stream")
    if expect and not re.fullmatch("[0-9a-f]{64}", expect):
        raise UsageError(
            f"--expect {expect!r} is not a digest; pass the 64 hexadecimal digits that `fedstream verify` "
            "prints as the head"
        )
    report = verify_run(
        open_store(store),
        run,
        brokers=EnvironmentBrokers() if stream else None,
        expect=expect,
        noise_secret=noise_secret(),
    )
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        for problem in report.problems:
            out.print("[red]✗[/]", end=" ")
            out.print(f"{problem.key}: {problem.what}", markup=False, highlight=False, soft_wrap=True)
        if report.ok:
            read = f", {report.records_checked} records" if stream else ""
            checked = f"{count(report.rounds + 1, 'commit')}, {report.objects_checked} objects{read}"
            how = "every global model reproduced bit for bit"
            if report.unproven:
                how = "every global model reproduced bit for bit, except:"
            out.print(f"[green]✓[/] run {run}: {checked}, {how}", highlight=False)
            for part in report.unproven:
                what = f"  round{'s' if len(part.rounds) > 1 else ''} {spans(part.rounds)}: {part.what}"
                out.print(what, highlight=False, soft_wrap=True)
            out.print(
                f"  head: {report.head} (keep it: `fedstream verify {run} --expect HEAD` detects later whether "
                "rounds were removed)",
                highlight=False,
                soft_wrap=True,
            )
    raise typer.Exit(0 if report.ok else 1)


def rollback(
    run: RunName,
    to: Annotated[
        int,
        typer.Option(
            min=0,
            help="Round whose global model the next round starts from; 0 for the initial model.",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Go back to the global model of an earlier round, for example after an update that spoiled the model.

    This appends a commit, so the ledger stays complete and verifiable. Later rounds no longer count; run the same run
    again to train them anew.

        fedstream rollback first --to 3
    """
    from fedstream.steps.context import Context
    from fedstream.steps.rollback import rollback as go_back

    commit = go_back(Context.from_env().run(run), to)
    if json:
        print_json(commit.model_dump(mode="json"))
    else:
        out.print(
            f"run {run}: round {commit.round} goes back to the model of round {to}; "
            "run it again to continue from there",
            highlight=False,
        )


def report(
    run: RunName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write.", show_default="RUN.html")
    ] = None,
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """Write the report of a run as one self-contained HTML file."""
    from fedstream.report.html import render_report
    from fedstream.report.view import build_view

    path = output or Path(f"{run}.html")
    write_file(path, render_report(build_view(open_store(store), run)).encode())
    if json:
        print_json({"run": run, "report": str(path)})
    else:
        out.print(f"wrote {path}", highlight=False)


def to_records(frame: Any) -> list[dict[str, Any]]:
    """Convert a DataFrame to JSON values; missing values become null."""
    import json

    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return records
