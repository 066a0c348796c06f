"""The command `fedstream statistics`."""

from __future__ import annotations

import math

from fedstream.cli.options import Json, RunName, StoreFolder, open_store
from fedstream.cli.output import out, print_json, print_table, print_warnings
from fedstream.text import count

COLUMNS = ["feature", "values", "missing", "mean", "std", "min", "25 %", "50 %", "75 %", "max"]


def statistics(run: RunName, store: StoreFolder = None, json: Json = False) -> None:
    """Show the statistics of all clients' records: missing values, mean, range and quantiles of each feature.

    A run gathers them before its first round if its preprocessing standardises, or with
    `--statistics '{"gather": true}'`. Warnings name the features of clients that look as if they had another unit.
    --json prints the histograms, the class counts and each client too.
    """
    from fedstream.report.statistics import required_statistics

    view = required_statistics(open_store(store), run)
    said = view.statistics
    if json:
        print_json(view.document())
        return
    rows = [
        [
            feature.name,
            feature.count,
            feature.missing,
            *("" if value is None else value for value in (feature.mean, _root(feature.variance), feature.minimum)),
            *(feature.quantiles.get(part, "") for part in ("0.25", "0.5", "0.75")),
            "" if feature.maximum is None else feature.maximum,
        ]
        for feature in said.features
    ]
    print_table(f"run {run}: {said.records} records of {count(len(said.clients), 'client')}", COLUMNS, rows)
    if said.class_counts:
        out.print(
            f"classes: {', '.join(f'{view.class_name(label)} {n}' for label, n in said.class_counts.items())}",
            highlight=False,
            markup=False,
        )
    left_out = [f"{client} is left out: {reason}" for client, reason in sorted(said.left_out.items())]
    print_warnings([*left_out, *map(str, view.differences)])


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)
