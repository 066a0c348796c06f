"""The report of a live run shows how its streams have drifted."""

import io
import re
from dataclasses import replace

from rich.console import Console
from support.live import follow, grow, online

from fedstream.cli import run as run_cli
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view
from fedstream.steps.outcome import outcome

INDEFINITE = {"indefinite": True, "rounds": 2}


def followed():
    """A run that has followed two clients, of which one drifts, for three submissions."""
    context, broker = online()
    for number in range(3):
        grow(broker, "north", 60, seed=0)
        grow(broker, "south", 60, seed=number)
        follow(context, **INDEFINITE)
    return context


def test_the_client_whose_stream_drifts_stands_out():
    context = followed()
    view = build_view(context.store, "r")
    north, south = (view.clients[index].drifts for index in (0, 1))
    assert list(north) == list(south) == [1, 3, 5]
    assert north[1].classes == north[1].mean == north[5].classes == 0, "the same records again"
    assert south[5].classes > 0.3
    assert all(found.mean is not None for found in south.values())
    page = render_report(view)
    assert "Total variation distance of the class histograms." in page
    assert '<a href="#drift">' in page


def test_the_report_of_an_indefinite_run_says_what_comes_next():
    context = followed()
    follow(context, **INDEFINITE)
    view = build_view(context.store, "r")
    page = render_report(view)
    assert "Goes on" in page
    assert "Round 4 is not opened yet: fewer than 30 new records within 0.02 s" in page
    assert "with which it last moved" in page
    assert "of streams that grow" in page
    assert render_model_card(view, view.best)


def test_a_run_of_announced_records_has_no_drift():
    view = build_view(followed().store, "r")
    quiet = replace(view, clients=[replace(client, drifts={}) for client in view.clients])
    assert '<section id="drift">' not in render_report(quiet)


def test_the_outcome_says_why_nothing_was_published_and_why_the_submission_ended(monkeypatch):
    (context, broker), file = online(), io.StringIO()
    for expected in (1, 0):
        grow(broker, "north", 60)
        assert follow(context, **INDEFINITE, improvement=0.9) == expected
    assert follow(context, **INDEFINITE, improvement=0.9) == 0
    monkeypatch.setattr(run_cli, "out", Console(file=file, width=500))
    run_cli.print_outcome(outcome(context.store, "r", 2, 0), json=False)
    said = file.getvalue()
    assert "nothing published: accuracy has not moved by 0.9 since version 1; run it again to go on" in said
    assert "ended: fewer than 30 new records within 0.02 s" in said
    assert re.search(r"records: trained on \d+\n", said)
