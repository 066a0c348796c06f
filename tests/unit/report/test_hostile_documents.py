"""Whoever can write to the bucket writes what it likes into each document:
the report says in one line what is wrong, or shows it as text.
"""

from __future__ import annotations

import copy
import json
import random
import re
from contextlib import nullcontext

import pytest
from support.pages import Page

from fedstream.errors import FedstreamError
from fedstream.record.canonical import canonical_json
from fedstream.record.documents import Refusal, Selection
from fedstream.record.layout import ModelKeys, RunKeys
from fedstream.report.history import to_history
from fedstream.report.html import render_report
from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view

CLIENTS = ["a", "b"]
MARKUP = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}[/x][bold]`|"
    "![](http://x)\n# y\x1b[31m\u202e\x00"
)
DEEP = json.loads("[" * 150 + "]" * 150)
VALUES = [
    None,
    True,
    -1,
    0,
    7,
    10**30,
    10**400,
    1e308,
    -1e308,
    0.5,
    "",
    MARKUP,
    "../../x",
    "9" * 20,
    [],
    {},
    [1],
    {MARKUP: MARKUP},
    DEEP,
]
BYTES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b"1e999",
    b'"\\ud800"',
    b"9" * 5000,
]
SIZES = (1e100, -1e100, 5e-324, 3.4e38)
PER_DOCUMENT = 60


@pytest.fixture
def run(bucket, run_of):
    """A run with a document of each type: finished but for a closing pass that one client refuses, and published."""
    name = run_of(
        bucket,
        CLIENTS,
        2,
        closing=False,
        refuse=lambda round, client: "late" if (round, client) == (2, "b") else "",
        spec={"baseline": True, "purpose": "Tells digits apart.", "data_restriction": {"country": "it"}},
        features=["age", "dose"],
        classes=["zero", "one"],
    )
    keys = RunKeys(name).at(3)
    bucket.put_new_json(
        keys.selection, Selection(run=name, round=3, kind="closing", clients=CLIENTS).model_dump(mode="json")
    )
    bucket.put_new_json(
        keys.refusal("once", "b"), Refusal(client="b", step="ingest", reason="no broker").model_dump(mode="json")
    )
    bucket.put_new_json(ModelKeys("builtin:digits-mlp").version(1, "manifest.json"), {"run": name, "round": 2})
    return name


def test_a_document_with_any_field_changed_is_shown_as_text_or_refused_in_a_line(bucket, run):
    dice = random.Random(5)
    for key, kept in list(bucket.objects.items()):
        document = json.loads(kept[0])
        changes = [(path, value) for path in paths(document) for value in (*VALUES, DELETED)]
        for path, value in dice.sample(changes, min(PER_DOCUMENT, len(changes))):
            forge(bucket, key, json.dumps(changed(document, path, value)).encode())
            look(bucket, run, f"{key} {path} {str(value)[:40]!r}")
        bucket.objects[key] = kept


def test_a_document_of_any_bytes_is_refused_in_a_line(bucket, run):
    for key, kept in list(bucket.objects.items()):
        for data in (
            *BYTES,
            kept[0][: len(kept[0]) // 2],
            kept[0].decode().encode("utf-16"),
            re.sub(rb"[0-9]+", b"NaN", kept[0], count=3),
        ):
            forge(bucket, key, data)
            look(bucket, run, f"{key} {data[:40]!r}")
        bucket.objects[key] = kept


def test_the_name_of_a_strange_field_stays_on_its_line(bucket, run):
    for key in (RunKeys(run).spec, RunKeys(run).at(1).commit, RunKeys(run).at(2).manifest("a")):
        kept = bucket.objects[key]
        forge(bucket, key, json.dumps(json.loads(kept[0]) | {MARKUP: 1}).encode())
        with (
            nullcontext() if "/updates/" in key else pytest.raises(FedstreamError)
        ):  # a client's own manifest stops nobody's report
            build_view(bucket, run)
        look(bucket, run, key)
        bucket.objects[key] = kept


def test_numbers_of_any_size_are_drawn(bucket, run):
    """Up to what float32 can hold and far beyond; sums and differences of the largest floats of all would be
    infinite.
    """
    for key, kept in list(bucket.objects.items()):
        document = json.loads(kept[0])
        for number, path in enumerate(paths(document) if "/rounds/" in key else ()):
            if isinstance(at(document, path), float):
                document = changed(document, path, SIZES[number % 4])
        forge(bucket, key, json.dumps(document).encode())
    assert build_view(bucket, run).rounds[1].metrics.values["accuracy"] in SIZES
    look(bucket, run, "huge numbers")
    commit = RunKeys(run).at(1).commit
    forge(bucket, commit, bucket.get(commit).replace(b"1e+100", b"1.7e+308"))
    with pytest.raises(FedstreamError, match="it contains a number that is far too large"):
        build_view(bucket, run)


def test_every_string_of_a_run_at_once_may_hold_markup(bucket, run):
    """What the documents' own types let through: all strings that may be any text."""
    for key, kept in list(bucket.objects.items()):
        document = json.loads(kept[0])
        for path in paths(document):
            if isinstance(at(document, path), str):
                was = bucket.objects[key]
                forge(bucket, key, canonical_json(changed(json.loads(was[0]), path, MARKUP)))
                try:
                    build_view(bucket, run)
                except FedstreamError:
                    bucket.objects[key] = was
    view = build_view(bucket, run)
    assert "alert(1)" in render_report(view)
    look(bucket, run, "all strings")


DELETED = object()


def paths(value, path=()):
    """Return where the values of a document are; of the items of a list, the first two."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return found + [inner for name, item in items for inner in paths(item, (*path, name))]


def at(document, path):
    for name in path:
        document = document[name]
    return document


def changed(document, path, value):
    document = copy.deepcopy(document)
    parent = at(document, path[:-1])
    if value is DELETED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def forge(bucket, key, data):
    bucket.objects[key] = (data, bucket.objects[key][1])


def look(bucket, run, what):
    """Render everything: only a FedstreamError of one printable line, or pages without a script."""
    try:
        view = build_view(bucket, run)
        page, cards = render_report(view), [render_model_card(view, item.number) for item in view.rounds[-1:]]
        to_history(view).rounds.to_json(orient="records")
    except FedstreamError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(what) from error
    else:
        said = ""
    assert not said or said.isprintable(), what
    assert len(said) < 1500, what
    if said:
        return
    seen = Page(page)
    assert not {tag for tag, _ in seen.tags} & {"script", "img", "iframe", "object"}, what
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")], what
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", page), what
    for card in cards:
        body = re.sub(r"`[^`\n]*`", "", card.split("---", 2)[2])
        assert "<" not in body, what
        assert not re.search(r"(?<!\\)!\[|^# y", body, re.M), what
