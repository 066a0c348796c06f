"""Who did not take part is named with the reason in the report's head, in `fedstream rounds`,
and in what `fedstream run` says.
"""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from fedstream.cli import output
from fedstream.cli import results as cli
from fedstream.cli import run as run_cli
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view
from fedstream.steps.outcome import attended, outcome
from fedstream.store.objects import ObjectStore

from .conftest import roll_back, train_round

CLIENTS = ["a", "b"]
TOLD = "b did not take part in rounds 1–2 and a closing pass: has 12 of 400 [/x] records"


def announced(client, accepted=False, related=True, reason="shape 28 28 does not fit"):
    return {
        "bootstrap_servers": "",
        "partition": 0,
        "offset": 0,
        "client": client,
        "accepted": accepted,
        "related": related,
        "reason": "takes part" if accepted else reason,
    }


@pytest.fixture
def degraded(bucket, run_of):
    """One of two clients refuses in every pass: two rounds and the closing one."""
    return run_of(
        bucket, CLIENTS, 2, refuse=lambda round, client: "has 12 of 400 [/x] records" if client == "b" else ""
    )


@pytest.fixture
def printed(monkeypatch, bucket):
    """Catch what commands print, of the bucket in memory."""
    file = io.StringIO()
    console = Console(file=file, width=output.UNFOLDED)
    monkeypatch.setattr(output, "out", console)
    monkeypatch.setattr(cli, "out", console)
    monkeypatch.setattr(run_cli, "out", console)
    monkeypatch.setattr(ObjectStore, "from_env", lambda: bucket)
    return file


def head_of(page):
    return re.sub(r"\s+", " ", page.split("<header>")[1].split("</header>")[0])


def test_the_head_of_a_degraded_run_names_who_is_missing_and_why_and_is_not_green(bucket, degraded):
    view = build_view(bucket, degraded)
    head = head_of(render_report(view))
    assert '<span class="pill amber">! Finished with 1 of 2 clients</span>' in head
    assert "✓ Finished" not in head
    assert "<b>b</b>, in rounds 1–2 and a closing pass: has 12 of 400 [/x] records" in head


def test_the_head_of_a_whole_run_is_green(bucket, run_of):
    head = head_of(render_report(build_view(bucket, run_of(bucket, CLIENTS, 2))))
    assert '<span class="pill good">✓ Finished</span>' in head
    assert "Who did not take part" not in head


def test_records_trained_on_are_told_apart_from_those_announced(bucket, degraded):
    view = build_view(bucket, degraded)
    trained = view.clients[0].matched.records - view.clients[0].matched.records // 5
    assert (view.attendance.records, view.attendance.announced) == (
        trained,
        sum(client.matched.records for client in view.clients),
    )
    head = head_of(render_report(view))
    announced = f"of {view.attendance.announced:,} announced by the matched clients, including held-out records"
    assert f"<dt>records trained on</dt><dd>{trained:,}</dd><dd>{announced}</dd>" in head
    assert (
        "<dt>refused</dt><dd>2</dd><dd>of 4 requested updates; and 1 measurement missing from a closing pass</dd>"
        in head
    )


def test_a_client_missing_in_one_round_makes_the_run_degraded_all_the_same(bucket, run_of):
    view = build_view(
        bucket, run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if (round, client) == (2, "b") else "")
    )
    assert view.attendance.summary == "with 2 clients, not all of them in every round"
    assert [str(absence) for absence in view.attendance.absent] == ["b did not take part in round 2: late"]


def test_absences_are_numbered_as_rounds_of_training_are_also_after_a_closing_pass_and_a_rollback(bucket, run_of):
    run = run_of(bucket, CLIENTS, 1, refuse=lambda round, client: "late" if client == "b" else "")
    train_round(bucket, run)
    train_round(bucket, run, refuse=lambda round, client: "late" if client == "b" else "")
    roll_back(bucket, run, 3)
    train_round(bucket, run, refuse=lambda round, client: "lost" if client == "b" else "")
    train_round(bucket, run, kind="closing", refuse=lambda round, client: "lost" if client == "a" else "")
    assert [str(absence) for absence in build_view(bucket, run).attendance.absent] == [
        "a did not take part in a closing pass: lost",
        "b did not take part in round 1 and a closing pass: late",
        "b did not take part in round 3: lost",
    ]


def test_rounds_of_training_keep_their_numbers_after_a_closing_pass(printed, bucket, run_of):
    run = run_of(bucket, CLIENTS, 2, asked=4)
    train_round(bucket, run)
    train_round(bucket, run, kind="closing")
    view = build_view(bucket, run)
    assert [item.kind for item in view.rounds] == [
        "initial",
        "training",
        "training",
        "closing pass",
        "training round 3",
        "closing pass",
    ]
    assert (view.best, view.decision) == (4, "round 4 is next")
    head = head_of(render_report(view))
    assert "The best model is that of round 3: " in head
    assert re.search("<dd>[^<]*round 3, the best of ", head)
    assert "Round 4 is not opened yet." in head
    cli.rounds(run)
    assert "│ training round 3 │" in printed.getvalue()


def test_an_announcement_refused_when_the_run_was_planned_counts_and_an_older_one_of_a_client_that_takes_part_does_not(
    bucket, run_of
):
    rows = [
        announced("a", reason="superseded"),
        announced("c"),
        announced("bank", related=False),
        announced("?"),
        announced("a", accepted=True),
    ]
    view = build_view(bucket, run_of(bucket, CLIENTS, 1, announcements=rows))
    assert [str(absence) for absence in view.attendance.absent] == [
        "c did not take part at all: shape 28 28 does not fit"
    ]
    assert view.attendance.summary == "with 2 of 3 clients"
    assert "c did not take part at all: shape 28 28 does not fit." in render_model_card(view, 1)


def test_owners_who_have_nothing_to_do_with_the_run_are_not_named(bucket, run_of):
    rows = [
        announced("a", accepted=True),
        announced("b", accepted=True),
        *(announced("other-bank", related=False, reason="not among") for _ in range(3)),
    ]
    view = build_view(bucket, run_of(bucket, CLIENTS, 1, announcements=rows))
    page = render_report(view)
    assert "other-bank" not in page + render_model_card(view, 1)
    assert "3 other announcements did not concern it." in page


def test_rounds_says_who_is_missing_and_takes_a_closing_pass_for_no_round(printed, degraded):
    cli.rounds(degraded)
    said = printed.getvalue()
    assert "run digits: 2 of 2 rounds and a closing pass" in said
    assert TOLD in said
    assert "│ closing pass │" in said
    assert "decision" not in said


def test_rounds_has_a_column_for_what_was_decided(printed, bucket, run_of):
    run = run_of(bucket, CLIENTS, 1)
    stopped = bucket.get_json("runs/digits/rounds/0002/commit.json")
    stopped["decision"] = {"action": "stop", "reason": "target reached \\[/x]"}
    key = "runs/digits/rounds/0002/commit.json"
    bucket.objects[key] = (json.dumps(stopped).encode(), bucket.objects[key][1])
    cli.rounds(run)
    assert "stop: target reached \\[/x]" in printed.getvalue()


def test_json_says_degraded_and_who_is_absent(capsys, printed, degraded):
    cli.rounds(degraded, json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["degraded"] is True
    assert said["absent"] == [
        {"client": "b", "rounds": [1, 2], "closing_passes": 1, "reason": "has 12 of 400 [/x] records"}
    ]
    assert said["clients"] == {"took_part": 1, "meant": 2}
    assert [entry["kind"] for entry in said["rounds"]] == ["initial", "training", "training", "closing"]


def test_the_outcome_of_a_degraded_run_says_so_in_yellow(monkeypatch, bucket, degraded):
    file = io.StringIO()
    for module in (output, run_cli):
        monkeypatch.setattr(module, "out", Console(file=file, width=500, force_terminal=True, color_system="standard"))
    run_cli.print_outcome(outcome(bucket, degraded, 3, 0), json=False)
    said = file.getvalue()
    assert "\x1b[33m with 1 of 2 clients\x1b[0m" in said
    assert f"\x1b[33m  {TOLD}\x1b[0m" in said
    assert re.search(r"records: trained on \S+ of \S+ announced", said)


def test_the_outcome_of_a_whole_run_has_nothing_in_yellow(printed, bucket, run_of):
    run = run_of(bucket, CLIENTS, 2)
    found = outcome(bucket, run, 3, 0)
    assert found["degraded"] is False
    assert found["absent"] == []
    run_cli.print_outcome(found, json=False)
    assert printed.getvalue().splitlines()[0].startswith("run digits: 2 rounds, nothing published yet")


def test_hundreds_of_absences_are_counted_on_a_console(printed, bucket, run_of):
    run = run_of(bucket, CLIENTS, 1, announcements=[announced(f"c{number}") for number in range(300)])
    cli.rounds(run)
    assert "and 280 more; --json lists them all" in printed.getvalue()
    view = build_view(bucket, run)
    assert len(attended(view.record, [item.commit for item in view.rounds])["absent"]) == 300
    assert "and 250 more." in render_report(view)
