"""The command `fedstream trace`: which models have used a record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstream.cli.options import Json, StoreFolder, open_store
from fedstream.cli.output import out, print_json, print_table, print_warnings, write_file
from fedstream.errors import UsageError
from fedstream.text import count

if TYPE_CHECKING:
    from fedstream.audit.trace import Trace

SHOWN = 20
"""Number of updates that are printed as text."""


def trace(
    topic: Annotated[str, typer.Option(help="Topic of the record.", show_default=False)],
    partition: Annotated[int | None, typer.Option(help="Partition of the record.", show_default="all")] = None,
    offset: Annotated[int | None, typer.Option(help="Offset of the record.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Option(help="Key of the record, for which the topic is read.", show_default=False)
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(
            help="Time at which the record was written, for which the topic is read: 2026-01-31T12:00:00 is that "
            "second in UTC; or milliseconds since 1970.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Search only this run.", show_default="all runs")] = None,
    index: Annotated[
        bool,
        typer.Option(
            "--index", help="Make the indexes again from all commits, and write them, so that later answers are quick."
        ),
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write the answer as a page, with what to do.", show_default=False)
    ] = None,
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """Find out which rounds used a record, and which published models build on them.

    A record is named by its offset, its key or its time. An offset needs only the bucket, and without --index only the
    right to read it. Rounds count whose updates were accepted; the answer says whether they trained on the record or
    held it out. The exit code is 1 if something could not be read, because the answer can then be incomplete.

        fedstream trace --topic ward7 --partition 0 --offset 12
        fedstream trace --topic ward7 --key patient-4711 --html withdrawn.html
    """
    from fedstream.audit.question import Question
    from fedstream.audit.trace import trace_records
    from fedstream.report.provenance import render_trace

    if store and offset is None:
        raise UsageError("the records of a simulation end with it, so they cannot be searched; pass --offset")
    question = Question.of(topic, partition, offset, key, timestamp)
    found = trace_records(open_store(store), question, run, index)
    if html:
        write_file(html, render_trace(found).encode())
    if json:
        print_json(found.model_dump(mode="json") | ({"html": str(html)} if html else {}))
    else:
        _print(found)
        if html:
            out.print(f"wrote {html}", highlight=False, markup=False)
    raise typer.Exit(1 if found.problems else 0)


def _print(found: Trace) -> None:
    from fedstream.report.provenance import answer, how, origin, state, summary

    searched = f"{count(found.runs_searched, 'run')} searched"
    if found.looked_at:
        searched += f"; {count(found.looked_at, 'record')} looked at, {found.records:,} of which fit"
    out.print(f"{found.asked}: {answer(found)} ({searched})", highlight=False, markup=False, soft_wrap=True)
    for traced in found.runs:
        out.print(f"  run {traced.run}: {summary(traced)}", highlight=False, markup=False, soft_wrap=True)
    if found.versions:
        print_table(
            "published models",
            ["model", "learned", "served as", "comes from"],
            [[v.name, "yes" if v.trained else "no", state(v), origin(v)] for v in found.versions],
        )
    uses = [(traced.run, use) for traced in found.runs for use in traced.uses]
    if uses:
        print_table(
            f"updates{f', the first {SHOWN} of {len(uses):,}; --json prints all of them' if len(uses) > SHOWN else ''}",
            ["run", "round", "client", "records", "update"],
            [[run, use.round, use.client, how(use), use.update_digest] for run, use in uses[:SHOWN]],
        )
    print_warnings(found.problems)
