"""The HTML report: one self-contained file without scripts, for the model owner, the data owners and an auditor."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fedstream.record.document import values_of
from fedstream.record.form import form_of
from fedstream.record.selection import clients_asked, quorum
from fedstream.record.spec import RunSpec
from fedstream.record.summary import FEWEST
from fedstream.report import figures, tables
from fedstream.report.contributions import contribution_rows
from fedstream.report.drift_figures import drift_figures
from fedstream.report.elements import RoundView
from fedstream.report.interval import METHOD, interval
from fedstream.report.privacy import privacy_note
from fedstream.report.view import RunView
from fedstream.text import capital, clean, count, duration, score, size, spans

MAX_ROWS = tables.MAX_ROWS

MAX_NAMES = 100
"""Maximum number of names of features, and of classes, that are listed."""


def render_report(view: RunView) -> str:
    """Return the report as one HTML page.

    The same view always gives the same bytes, regardless of when and where it is rendered.
    """
    rows = tables.client_rows(view)
    best = view.best_view
    measured = best if best and best.metrics else next((item for item in reversed(view.rounds) if item.metrics), None)
    confusion = measured.metrics.confusion if measured and measured.metrics else None
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            view=view,
            spec=view.spec,
            tiles=_tiles(view),
            privacy=privacy_note(view),
            learning=figures.learning(view),
            curves=figures.client_curves(view, view.metric),
            scores=None if len(view.clients) <= figures.SMALL_MULTIPLES else figures.client_scores(view, view.metric),
            records=figures.records(view),
            classes=figures.classes(view),
            confusion=figures.confusion(confusion, view.classes)
            if confusion and len(confusion) <= figures.MAX_CLASSES
            else None,
            measured=measured,
            client_rows=rows,
            contributions=contribution_rows(view),
            alone_rows=tables.alone_rows(view),
            alone_summary=tables.alone_summary,
            announcements=[row for row in view.record.announcements if row.related],
            method=METHOD,
            heaviest=max((row.share for row in rows), default=0.0) or 1.0,
            refusals=tables.refusal_rows(view),
            partial=tables.partial_rows(view),
            slices=tables.slice_rows(view),
            statistics_rows=[row for rows in view.statistics.rows for row in rows] if view.statistics else [],
            class_rows=tables.class_rows(measured.metrics if measured else None, view.classes),
            drift=drift_figures(view),
            chain=_chain(view),
            settings=_settings(view.spec),
            command=_command(view.spec),
            code_versions=sorted({item.commit.code_version for item in view.rounds}),
            max_rows=MAX_ROWS,
            max_names=MAX_NAMES,
            fewest=FEWEST,
            quorum=quorum,
        )
    )


@cache
def templates() -> Environment:
    """Return the templates of all pages; what they insert is escaped."""
    environment = Environment(
        loader=PackageLoader("fedstream.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        score=score,
        size=size,
        duration=duration,
        spans=spans,
        capital=capital,
        brief=lambda value: "–" if value is None else f"{value:.4g}",
        signed=lambda value: f"{value:+.4f}" if abs(value) < 1000 else f"{value:+.4g}",
        when=lambda time: f"{time:%Y-%m-%d %H:%M} UTC",
    )
    environment.globals |= {"count": count, "interval": interval}
    return environment


def _finalize(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True)
class Tile:
    """A number at the top of the report."""

    label: str
    value: str
    note: str


def _tiles(view: RunView) -> list[Tile]:
    return [
        _best_tile(view),
        _rounds_tile(view),
        _clients_tile(view),
        _records_tile(view),
        _refused_tile(view),
        *_time_tile(view),
    ]


def _best_tile(view: RunView) -> Tile:
    points, best = dict(view.series(view.metric)), view.best_view
    if view.best not in points or not best or not best.metrics:
        return Tile(view.metric, "–", "no trained model is measured yet")
    why = "with which it last moved" if view.spec.indefinite else f"the best of {count(len(points), 'measured model')}"
    notes = [f"round {best.behind}, {why}"]
    if sure := interval(view.metric, points[view.best], best.metrics.num_examples):
        notes.insert(0, f"95 % interval {sure}")
    if 0 in points and view.best:
        notes.append(f"the initial model has {score(points[0])}")
    return Tile(view.metric, score(points[view.best]), "; ".join(notes))


def _rounds_tile(view: RunView) -> Tile:
    notes = ["finished" if view.pending is None else "not finished"]
    if view.closing_passes:
        notes.append("a closing pass evaluated the last model")
    if dropped := sum(not item.counts and item.commit.kind == "training" for item in view.rounds):
        notes.append(f"{count(dropped, 'more round')} undone by a rollback")
    return Tile("rounds", f"{view.trained} of {view.asked}", "; ".join(notes))


def _clients_tile(view: RunView) -> Tile:
    there, clients = view.attendance, len(view.clients)
    note = f"in the global model; quorum {quorum(view.record.spec, clients_asked(view.record.spec, clients))}"
    return Tile("clients", f"{there.took_part} of {there.meant}" if there.meant else str(clients), note)


def _records_tile(view: RunView) -> Tile:
    there = view.attendance
    if view.record.spec.feed.live:
        return Tile("records trained on", f"{there.records:,}", "of streams that grow")
    return Tile(
        "records trained on",
        f"{there.records:,}",
        f"of {there.announced:,} announced by the matched clients, including held-out records",
    )


def _refused_tile(view: RunView) -> Tile:
    entries = [(kind, entry.accepted) for client in view.clients for _, kind, entry in client.rounds]
    updates = [accepted for kind, accepted in entries if kind == "training"]
    missed = [accepted for kind, accepted in entries if kind == "closing"].count(False)
    note = f"of {count(len(updates), 'requested update')}"
    return Tile(
        "refused",
        f"{updates.count(False):,}",
        f"{note}; and {count(missed, 'measurement')} missing from a closing pass" if missed else note,
    )


def _time_tile(view: RunView) -> list[Tile]:
    seconds = [item.seconds for item in view.rounds if item.seconds is not None]
    training = [item.seconds for item in view.rounds if item.seconds is not None and item.commit.kind == "training"]
    if not training:
        return []
    passes = count(len(seconds), "pass") if view.closing_passes else count(len(seconds), "round")
    return [
        Tile("time", duration(sum(seconds)), f"in {passes}; {duration(sum(training) / len(training))} a training round")
    ]


@dataclass(frozen=True)
class Link:
    """A commit, and whether it refers to its predecessor."""

    round: RoundView
    parent: str
    holds: bool


def _chain(view: RunView) -> list[Link]:
    links, before, name = [], view.spec_digest, "spec.json"
    for item in view.rounds:
        links.append(Link(item, name, item.commit.parent == before))
        before, name = item.digest, f"round {item.number}"
    return links


def _settings(spec: RunSpec) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (name, value, description) of every setting of the run, by the groups of the form."""
    values, form = values_of(spec), form_of(type(spec))
    return [
        (
            group,
            [(field.name, _plain(values[field.name]), field.description) for field in fields if field.name in values],
        )
        for group, fields in groupby(form, key=lambda field: field.group)
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _command(spec: RunSpec) -> str:
    """Return the command that starts this run, with all options that differ from the defaults."""
    given, words = spec.model_dump(mode="json", exclude_defaults=True), ["fedstream", "run"]
    for field in form_of(type(spec)):
        if field.name in given:
            value = given[field.name]
            words += (
                [field.flag]
                if value is True
                else [field.flag, ",".join(value) if field.kind == "names" else _plain(value)]
            )
    return shlex.join(words)
