"""The command `fedstream runs`, which lists runs and compares two of them."""

from __future__ import annotations

import json as jsonlib
from datetime import datetime
from typing import Annotated, Any

import typer

from fedstream.cli.options import Json, StoreFolder, open_store
from fedstream.cli.output import out, print_json, print_table
from fedstream.errors import UsageError
from fedstream.report.runs import Comparison, RunSummary, compare, summaries


def runs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[A B]", help="Two runs to compare.", show_default="list all runs")
    ] = None,
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """List the runs in the bucket, or compare the specs and the metrics of two runs.

    fedstream runs first second
    """
    bucket = open_store(store)
    bucket.check()
    if not names:
        _list(summaries(bucket), json)
    elif len(names) == 2:
        _compare(names, compare(bucket, *names), json)
    else:
        raise UsageError(
            f"{len(names)} {'run is' if len(names) == 1 else 'runs are'} given; pass two runs to compare them, "
            "or none to list all runs"
        )


def _list(found: list[RunSummary], json: bool) -> None:
    if json:
        print_json({"runs": [vars(run) | {"started": _iso(run.started), "ended": _iso(run.ended)} for run in found]})
        return
    rows = [
        [
            run.run,
            run.model,
            run.state,
            run.rounds,
            "" if run.value is None else f"{run.metric} {run.value:.4f}",
            run.version or "",
            _shown(run.started),
            _shown(run.ended),
        ]
        for run in found
    ]
    print_table("runs", ["run", "model", "state", "rounds", "last measured", "version", "started", "ended"], rows)


def _compare(names: list[str], found: Comparison, json: bool) -> None:
    first, second = names
    if json:
        rounds = [{"round": number, **values} for number, values in found.rounds.items()]
        print_json({"runs": names, "differ": found.differ, "rounds": rounds})
        return
    if found.differ:
        print_table(
            "what differs",
            ["field", first, second],
            [[field, _value(one), _value(other)] for field, (one, other) in found.differ.items()],
        )
    else:
        out.print("the specs are the same")
    columns = ["round", *(f"{run} {name}" for name in found.metrics for run in names)]
    cells = [
        [number, *(_cell(value) for name in found.metrics for value in values[name])]
        for number, values in found.rounds.items()
    ]
    print_table("what the global models scored", columns, cells)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else jsonlib.dumps(value)


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _shown(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else ""
