"""The HTML report: one self-contained file without scripts, for the model owner, the data owners and an auditor."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fedstream.report import figures, tables
from fedstream.report.parts import RoundView
from fedstream.report.text import clean, count, duration, score, spans
from fedstream.report.view import RunView
from fedstream.run import RunSpec, clients_asked, quorum

MAX_ROWS = tables.MAX_ROWS


def render_report(view: RunView) -> str:
    """Return the report as one HTML page.

    The same view gives the same bytes: nothing in it depends on when or where it is rendered.
    """
    rows = tables.client_rows(view)
    best = view.best_view
    measured = best if best and best.metrics else next((item for item in reversed(view.rounds) if item.metrics), None)
    confusion = measured.metrics.confusion if measured and measured.metrics else None
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            spec=view.record.spec,
            tiles=_tiles(view),
            learning=figures.learning(view),
            curves=figures.client_curves(view, view.metric),
            scores=None if len(view.clients) <= figures.SMALL_MULTIPLES else figures.client_scores(view, view.metric),
            records=figures.records(view),
            classes=figures.classes(view),
            confusion=figures.confusion(confusion) if confusion and len(confusion) <= figures.MAX_CLASSES else None,
            measured=measured,
            client_rows=rows,
            heaviest=max((row.share for row in rows), default=0.0) or 1.0,
            refusals=tables.refusal_rows(view),
            slices=tables.slice_rows(view),
            class_rows=tables.class_rows(measured.metrics if measured else None),
            chain=_chain(view),
            settings=_settings(view.record.spec),
            command=_command(view.record.spec),
            code_versions=sorted({item.commit.code_version for item in view.rounds}),
            max_rows=MAX_ROWS,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fedstream.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        score=score, duration=duration, spans=spans, signed=lambda value: f"{value:+.4f}", when=lambda time: f"{time:%Y-%m-%d %H:%M:%S} UTC"
    )
    environment.globals["count"] = count
    return environment


def _finalize(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True)
class Tile:
    """A number of the headline."""

    label: str
    value: str
    note: str


def _tiles(view: RunView) -> list[Tile]:
    spec, tiles = view.record.spec, []
    points = dict(view.series(view.metric))
    if view.best in points:
        note = f"round {view.best}, the best of {count(len(points), 'measured model')}"
        if 0 in points and view.best:
            note += f"; the initial model has {score(points[0])}"
        tiles.append(Tile(view.metric, score(points[view.best]), note))
    else:
        tiles.append(Tile(view.metric, "–", "no trained model is measured yet"))
    tiles.append(Tile("rounds", f"{view.trained} of {view.asked}", "finished" if view.pending is None else "not finished"))
    matched = sum(client.matched.records for client in view.clients)
    announced = count(len(view.record.announcements), "announcement")
    tiles.append(Tile("clients", str(len(view.clients)), f"of {announced}; quorum {quorum(spec, clients_asked(spec, len(view.clients)))}"))
    tiles.append(Tile("records", f"{matched:,}", "announced by the clients that take part"))
    updates = sum(len(client.rounds) for client in view.clients)
    refused = sum(len(client.refused) for client in view.clients)
    tiles.append(Tile("refused", f"{refused:,}", f"of {count(updates, 'verdict')}"))
    seconds = [item.seconds for item in view.rounds if item.seconds is not None]
    if seconds:
        tiles.append(Tile("time", duration(sum(seconds)), f"in rounds; {duration(sum(seconds) / len(seconds))} each"))
    return tiles


@dataclass(frozen=True)
class Link:
    """A commit and whether it names its predecessor."""

    round: RoundView
    parent: str
    holds: bool


def _chain(view: RunView) -> list[Link]:
    links, before, name = [], view.spec_digest, "spec.json"
    for item in view.rounds:
        links.append(Link(item, name, item.commit.parent == before))
        before, name = item.digest, f"round {item.number}"
    return links


def _settings(spec: RunSpec) -> list[tuple[str, str, str]]:
    """Return (name, value, description) of everything the model owner decided."""
    values = spec.model_dump(mode="json")
    return [(name, _plain(values[name]), field.description or "") for name, field in RunSpec.model_fields.items()]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _command(spec: RunSpec) -> str:
    """Return the command that starts this run, with what differs from the defaults."""
    from fedstream.options import RENAMED

    given = spec.model_dump(mode="json", exclude_defaults=True)
    words = ["fedstream", "run"]
    for name, value in given.items():
        text = ",".join(value) if name == "clients" else _plain(value)
        words += [RENAMED.get(name, f"--{name.replace('_', '-')}"), *([] if value is True else [text])]
    return shlex.join(words)
