"""The page of a trace: the answer in plain words, what is served, what to do, and nothing that breaks out of it."""

from __future__ import annotations

import shlex

import pytest
import typer
from support.ledgers import HELD_OUT, TOPIC, TRAINED, WrittenRun
from support.pages import Page

from fedstream.audit.trace import Trace, trace
from fedstream.catalog.aliases import promote
from fedstream.catalog.versions import find_version
from fedstream.cli.app import app
from fedstream.report.provenance import answer, measures, render_trace, summary
from fedstream.store.memory import MemoryStore

PLAN = {"a": f"{TOPIC}:0:0:20"}


@pytest.fixture
def made():
    made = WrittenRun(MemoryStore(), "r", PLAN)
    made.train({"a": "other:0:0:9"})
    made.publish(1, 1)
    made.train(PLAN)
    made.train(PLAN)
    made.publish(2, 3)
    promote(made.store, find_version(made.store, "mine", 2), "champion")
    return made


def commands(found: Trace) -> list[str]:
    return [command for measure in measures(found) for command in measure.commands]


def test_a_served_model_that_has_learned_from_it(made):
    found = trace(TOPIC, 0, TRAINED, store=made.store)
    assert answer(found) == "1 published model has learned from it; it is served."
    page = Page(render_trace(found))
    assert [row[:3] for row in page.tables["Published models"][1:]] == [["mine@2", "yes", "newest version, champion"]]
    runs = next(rows for caption, rows in page.tables.items() if caption.startswith("Runs"))
    assert runs[1][:3] == ["r", "Tell urgent from routine admissions", "trained on in rounds 2–3"]
    updates = next(rows for caption, rows in page.tables.items() if caption.startswith("Updates of run"))
    assert updates[1:] == [[str(use.round), "a", "trained on", use.update_digest] for use in found.runs[0].uses]
    assert commands(found) == [
        "fedstream model promote mine@1 champion",
        "fedstream model remove mine@2 --yes",
        "fedstream rollback r --to 1",
        "fedstream stream withdraw --client a",
        "fedstream run --name r-again --model mine",
    ]


def test_what_to_do_can_be_typed(made):
    root = typer.main.get_command(app)
    for command in commands(trace(TOPIC, 0, TRAINED, store=made.store)):
        words, at = shlex.split(command)[1:], root
        while isinstance(at, typer.core.TyperGroup):
            at, words = at.commands[words[0]], words[1:]
        at.make_context(command, words)


def test_without_a_clean_version_an_alias_is_taken_away():
    made = WrittenRun(MemoryStore(), "r", PLAN)
    made.train(PLAN)
    made.publish(1, 1)
    promote(made.store, find_version(made.store, "mine", 1), "champion")
    assert commands(trace(TOPIC, 0, TRAINED, store=made.store))[0] == "fedstream model demote mine@champion"


def test_a_held_out_record_needs_no_measure(made):
    found = trace(TOPIC, 0, HELD_OUT, store=made.store)
    assert answer(found) == "No model has learned from it. Models were measured on it in 1 run."
    assert summary(found.runs[0]) == "held out, so only measured on, in rounds 2–3"
    assert measures(found) == []
    assert "What to do" not in render_trace(found)


def test_a_record_that_nobody_used(made):
    found = trace("nowhere", 0, 0, store=made.store)
    assert answer(found) == "No model has used it."
    assert "Not used" in render_trace(found)
    assert Page(render_trace(found)).tables == {}


def test_rounds_that_were_undone_are_told_and_only_the_versions_remain(made):
    made.roll_back(1)
    found = trace(TOPIC, 0, TRAINED, store=made.store)
    assert summary(found.runs[0]) == "trained on in rounds 2–3; rounds 2–3 were undone by a rollback"
    assert not [command for command in commands(found) if "rollback" in command]
    assert "fedstream model remove mine@2 --yes" in commands(found)


def test_a_run_without_a_version():
    unpublished = WrittenRun(MemoryStore(), "r", PLAN)
    unpublished.train(PLAN)
    found = trace(TOPIC, 0, TRAINED, store=unpublished.store)
    assert answer(found) == "1 run has trained on it, but no published model builds on that."


def test_texts_from_outside_stay_text(made):
    evil = "<script>alert(1)</script>{{ 7 * 7 }}\x00"
    found = trace(TOPIC, 0, TRAINED, store=made.store)
    runs = [found.runs[0].model_copy(update={"purpose": evil, "inherited_from": evil})]
    text = render_trace(found.model_copy(update={"runs": runs, "problems": [evil], "asked": evil}))
    assert "<script>" not in text
    assert "{{ 7 * 7 }}" in text
    assert "\x00" not in text
    assert "This answer may be incomplete" in text


def test_a_long_answer_is_cut_where_it_says_so(made):
    found = trace(TOPIC, 0, TRAINED, store=made.store)
    many = found.model_copy(update={"versions": found.versions * 3000})
    assert "more rows are not shown; fedstream trace --json prints all of them" in render_trace(many)
