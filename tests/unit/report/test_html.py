"""The report: its numbers are the ledger's, nothing from outside gets out of its place, and it stays small."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import pytest
from support.pages import Page

from fedstream.report.html import render_report
from fedstream.report.view import build_view

CLIENTS = ["a", "b", "c"]
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def figures(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", page, re.S)]


def test_the_rounds_table_is_the_ledger(bucket, run_of):
    view = build_view(
        bucket, run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if (round, client) == (2, "c") else "")
    )
    head, *rows = Page(render_report(view)).tables["Rounds"]
    assert head[:4] == ["round", "kind", "accuracy", "loss"]
    for row, item in zip(rows, view.rounds, strict=True):
        said = dict(zip(head, row, strict=True))
        assert said["round"].removeprefix("★ ") == str(item.number)
        assert said["accuracy"] == (f"{item.metrics.values['accuracy']:.4f}" if item.metrics else "–")
        if item.commit.kind == "training":
            assert said["accepted"] == str(sum(entry.accepted for entry in item.commit.clients))
            assert int(said["records"].replace(",", "")) == sum(
                entry.num_examples for entry in item.commit.clients if entry.accepted
            )
    assert [row[0] for row in rows if row[0].startswith("★")] == [f"★ {view.best}"]


def test_the_chain_and_the_slices_are_whole(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    page = Page(render_report(view))
    commits = page.tables["Commits"][1:]
    assert [row[1] for row in commits] == [item.digest for item in view.rounds]
    assert [row[2] for row in commits] == ["✓ spec.json", "✓ round 0", "✓ round 1", "✓ round 2", "✓ round 3"]
    slices = page.tables["Slices"][1:]
    assert [(row[0], row[1], row[3], row[5]) for row in slices] == [
        (client.name, "1–4", client.matched.ranges, client.rounds[0][2].slice_digest) for client in view.clients
    ]


def test_a_broken_link_of_the_chain_is_shown(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 1))
    forged = view.rounds[1].commit.model_copy(update={"parent": "0" * 64})
    view.rounds[1] = type(view.rounds[1])(commit=forged, digest=view.rounds[1].digest)
    assert Page(render_report(view)).tables["Commits"][2][2] == "✕ not round 0"


def test_names_and_reasons_from_outside_stay_text(bucket, run_of):
    rows = [
        {"bootstrap_servers": "", "partition": 0, "offset": 1, "client": EVIL, "accepted": False, "reason": EVIL},
        {
            "bootstrap_servers": EVIL,
            "partition": 0,
            "offset": 2,
            "client": "x\u202egnp.exe\x00",
            "accepted": False,
            "reason": "\x1b[31m",
        },
    ]
    run = run_of(
        bucket,
        CLIENTS,
        3,
        announcements=rows,
        refuse=lambda round, client: EVIL + "\x00" if (round, client) == (2, "c") else "",
        spec={"data_restriction": {EVIL: EVIL}},
    )
    text = render_report(build_view(bucket, run))
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert [row[0] for row in page.tables["Announcements"][1:]] == [EVIL, "x�gnp.exe�"]
    assert EVIL in page.tables["Refused updates, by client and reason"][1][3]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    assert figures(text)


def test_figures_are_well_formed_and_described(bucket, run_of):
    found = figures(render_report(build_view(bucket, run_of(bucket, CLIENTS, 3))))
    assert len(found) == 2 + 1 + 3 + 1 + 1
    for svg in found:
        space = "{http://www.w3.org/2000/svg}"
        assert svg.get("role") == "img"
        assert svg.find(f"{space}title").text
        assert svg.find(f"{space}desc").text


def test_confusion_matrix_counts_are_those_of_the_best_model(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    svg = next(svg for svg in figures(render_report(view)) if svg[0].text == "Confusion matrix")
    cells = [group.find("{*}text").text for group in svg.iter("{http://www.w3.org/2000/svg}g") if group.get("class")]
    assert cells == [
        f"{value:,}" if value else "·" for row in view.rounds[view.best].metrics.confusion for value in row
    ]


def test_nothing_is_loaded_from_anywhere(bucket, run_of):
    page = Page(render_report(build_view(bucket, run_of(bucket, CLIENTS, 2))))
    assert not [attributes for _, attributes in page.tags if "src" in attributes]
    links = [attributes["href"] for _, attributes in page.tags if "href" in attributes]
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert links
    assert {link.removeprefix("#") for link in links} <= targets


def test_the_same_run_gives_the_same_bytes(bucket, run_of):
    run = run_of(bucket, CLIENTS, 2)
    assert render_report(build_view(bucket, run)) == render_report(build_view(bucket, run))


@pytest.mark.parametrize("rounds", [0, 1])
def test_an_unfinished_run_says_why(bucket, run_of, rounds):
    text = render_report(build_view(bucket, run_of(bucket, CLIENTS, rounds, asked=3, closing=False)))
    assert "Not finished" in text
    assert f"Round {rounds + 1} is next." in text


def test_a_run_without_held_out_records_or_classes_still_renders(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2, confusion=False))
    text = render_report(view)
    assert "Confusion matrix" not in text
    Page(text)


def test_a_large_run_stays_small_and_says_what_it_leaves_out(bucket, run_of):
    clients = [f"phone-{number:03}" for number in range(110)]
    view = build_view(
        bucket,
        run_of(
            bucket,
            clients,
            40,
            confusion=False,
            refuse=lambda round, client: f"late by {round} s" if round % 4 == 0 and client[-1] < "6" else "",
        ),
    )
    text = render_report(view)
    assert len(text.encode()) < 1_000_000
    assert "the first 100 of 110 clients" in text
    assert "160 more rows are not shown" in text
    assert len(figures(text)) == 2 + 3
    page = Page(text)
    assert len(page.tables["Clients that take part"]) == 1 + 110
    assert len(page.tables["Refused updates, by client and reason"]) == 1 + 500


def test_the_command_gives_the_same_spec_again(bucket, run_of):
    spec = {"clients": CLIENTS, "data_restriction": {"country": "it's"}, "mixed_precision": True}
    text = render_report(build_view(bucket, run_of(bucket, CLIENTS, 2, spec=spec)))
    page = re.search(r"<pre>(fedstream run .*?)</pre>", text, re.S).group(1)
    assert "--clients a,b,c --data-restriction" in page
    assert page.rstrip().endswith("--epochs 2 --mixed-precision --rounds 2 --target-value 0.95")


def test_an_evaluation_topic_is_named(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2))
    evaluation = view.record.clients[0].model_copy(
        update={"client": "eval", "ranges": "eval-data:0:0:300", "records": 300}
    )
    spec = view.record.spec.model_copy(update={"evaluation_topic": "eval-data"})
    record = view.record.model_copy(update={"spec": spec, "evaluation": evaluation})
    text = render_report(dataclasses.replace(view, record=record, spec=spec))
    assert "evaluated on 300 records of the evaluation topic (<code>eval-data:0:0:300</code>)" in text
    assert "records of the evaluation topic." in text
    assert "Federated evaluation: each point" not in text
