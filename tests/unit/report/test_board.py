"""What a board asks of a report: when, what for, of what, how sure, better than alone, and what was taken back."""

from __future__ import annotations

import re

import pytest
from support.pages import Page

from fedstream.report.history import to_history
from fedstream.report.html import render_report
from fedstream.report.interval import interval, wilson
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view

from .conftest import roll_back, train_round

CLIENTS = ["a", "b", "c"]
NAMES = ["benign", "<b>malignant</b>"]


def test_purpose_and_dates_stand_in_the_head_and_in_the_model_card(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2, spec={"purpose": "Sorts <forms>."}))
    page, card = render_report(view), render_model_card(view, 2)
    assert '<p class="purpose">Sorts &lt;forms&gt;.</p>' in page
    assert "Planned 2026-01-31 12:00 UTC, finished 2026-01-31 12:0" in page
    assert "Sorts &lt;forms&gt;." in card
    assert "Planned 2026-01-31 12:00 UTC, finished 2026-01-31 12:0" in card


def test_an_unfinished_run_has_no_date_of_its_end(bucket, run_of):
    assert ", finished" not in render_report(build_view(bucket, run_of(bucket, CLIENTS, 1, asked=3, closing=False)))


def test_class_and_feature_names_stand_where_numbers_stood(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2, classes=NAMES, features=["age", "dose"]))
    page = render_report(view)
    rows = next(rows for caption, rows in Page(page).tables.items() if caption.startswith("Each class"))
    assert [row[0] for row in rows[1:]] == [*NAMES, *map(str, range(2, 10))]
    assert "class benign: " in page
    assert "true class benign, predicted class 2" in page
    assert "<dt>2 features</dt><dd><code>age</code>, <code>dose</code>" in page
    assert "| benign |" in render_model_card(view, 2)


def test_a_client_with_names_in_another_order_is_told(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 1, features=["age", "dose"]))
    view.record.clients[1].features.extend(["dose", "age"])
    assert '<p class="note">b announced its features in a different order.</p>' in render_report(view)


@pytest.mark.parametrize(
    ("right", "records", "low", "high"),
    [(9, 10, 0.5958, 0.9821), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_are_those_of_the_textbooks(right, records, low, high):
    """81 of 263 is the example of Newcombe 1998, table I; the others are as R's binom.confint gives them."""
    assert wilson(right / records, records) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("metric", "value"), [("loss", 0.5), ("auc", 0.9), ("accuracy", 1.2), ("mean_absolute_error", 0.1)]
)
def test_what_is_no_share_of_records_has_no_interval(metric, value):
    assert interval(metric, value, 100) == ""


def test_the_interval_of_the_best_model_is_said_with_its_method(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2))
    best = view.best_view.metrics
    low, high = wilson(best.values["accuracy"], best.num_examples)
    page = render_report(view)
    assert f"(95 % interval {low:.4f}–{high:.4f})" in page
    assert "by the Wilson method" in page
    assert f"| accuracy | {best.values['accuracy']:.4f} | {low:.4f}–{high:.4f} |" in render_model_card(view, 2)


def test_each_client_alone_is_compared_on_the_same_records(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3, spec={"baseline": True}))
    head, *rows = Page(render_report(view)).tables["Accuracy, alone and together"]
    assert head == ["client", "held-out records", "alone", "together", "model of round", "gain"]
    for row, client in zip(rows, view.clients, strict=True):
        alone, last = client.alone.values["accuracy"], client.rounds[-1][2].incoming.values["accuracy"]
        assert (row[0], row[1]) == (client.name, str(client.alone.num_examples))
        assert row[2].startswith(f"{alone:.4f}")
        assert row[3].startswith(f"{last:.4f}")
        assert row[4] == "3"
        assert row[5] == f"{last - alone:+.4f}"
    better = sum(
        client.rounds[-1][2].incoming.values["accuracy"] > client.alone.values["accuracy"] for client in view.clients
    )
    assert f"The global model is better at {better} of 3 clients." in render_report(view)
    assert "### Alone and together" in render_model_card(view, 3)


def test_without_the_option_nothing_is_said_of_training_alone(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 2))
    assert "training alone" not in render_report(view)
    assert "Alone and together" not in render_model_card(view, 2)


@pytest.fixture
def rolled_back(bucket, run_of):
    """Three rounds, back to the model of the first, and one more: rounds 2 and 3 count no longer."""
    run = run_of(bucket, CLIENTS, 3, closing=False, asked=5)
    roll_back(bucket, run, 1)
    train_round(bucket, run)
    return run


def test_rounds_that_were_taken_back_stay_in_the_table_and_out_of_the_figures(bucket, rolled_back):
    view = build_view(bucket, rolled_back)
    assert view.trained == 2
    assert [item.kind for item in view.rounds] == [
        "initial",
        "training",
        "training, undone",
        "training, undone",
        "rollback to 1",
        "training round 2",
    ]
    assert [number for number, _ in view.series("loss")] == [0, 1, 4]
    assert [number for number, _ in view.clients[0].trained] == [1, 5]
    page = render_report(view)
    said = next(rows for caption, rows in Page(page).tables.items() if caption.startswith("Rounds"))
    assert [row[1] for row in said[1:]] == [item.kind for item in view.rounds]
    assert "2 more rounds undone by a rollback" in page
    assert "<b>4: rollback to 1</b>" in page


def test_the_history_tells_which_rounds_count(bucket, rolled_back):
    frame = to_history(build_view(bucket, rolled_back)).rounds
    assert list(frame["counts"]) == [True, True, False, False, True, True]
    assert frame["kind"][4] == "rollback"


def test_a_metric_called_like_a_column_does_not_replace_it(bucket, run_of):
    run = run_of(bucket, CLIENTS, 1)
    key = "runs/digits/rounds/0002/commit.json"
    data, at = bucket.objects[key]
    bucket.objects[key] = (data.replace(b'"loss"', b'"records"'), at)
    frame = to_history(build_view(bucket, run)).rounds
    assert len(frame.columns) == len(set(frame.columns))
    assert frame["records"][1] > 100


def test_rounds_and_passes_are_told_apart(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    page = render_report(view)
    assert view.progress == "3 of 3 rounds and a closing pass"
    assert "<dt>rounds</dt><dd>3 of 3</dd><dd>finished; a closing pass evaluated the last model</dd>" in page
    assert "<dt>refused</dt><dd>0</dd><dd>of 9 requested updates</dd>" in page
    assert "in 4 passes; " in page
    assert "a training round</dd>" in page


def test_what_is_wider_than_a_phone_scrolls_in_its_own_box(bucket, run_of):
    page = render_report(build_view(bucket, run_of(bucket, CLIENTS, 2, spec={"baseline": True}, classes=NAMES)))
    boxed = re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="[^"]+">\s*<table>', page)
    assert len(boxed) == page.count("<table>") == 10
    maps = re.findall(r'<div class="wide" [^>]*><svg [^>]*class="heat', page)
    assert len(maps) == page.count('xmlns="http://www.w3.org/2000/svg" class="heat') == 3
    assert re.search(r"\.scroll \{ overflow: auto;", page)
    assert re.search(r"\.wide \{ overflow-x: auto;", page)
