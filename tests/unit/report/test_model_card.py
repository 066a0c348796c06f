"""The model card says what is on record, and only that."""

from __future__ import annotations

import re
from dataclasses import replace

import yaml

from fedstream.report.model_card import render_model_card
from fedstream.report.view import build_view

CLIENTS = ["a", "b", "c"]


def test_the_front_matter_is_yaml_with_the_models_metrics(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3))
    front = yaml.safe_load(render_model_card(view, 3).split("---")[1])
    found = {metric["type"]: metric["value"] for metric in front["model-index"][0]["results"][0]["metrics"]}
    assert found == view.rounds[3].metrics.values
    assert front["library_name"] == "keras"


def test_it_counts_only_what_went_into_this_model(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 3, refuse=lambda round, client: "late" if client == "c" else ""))
    card = render_model_card(view, 2)
    assert "Global model of round 2" in card
    assert "on the records of 2 clients" in card
    assert "It contains no update of `c`." in card
    examples = sum(entry.num_examples for item in view.rounds[1:3] for entry in item.accepted)
    assert f"the {examples:,} examples in all accepted updates up to round 2" in card
    assert view.rounds[2].digest in card
    assert view.rounds[2].commit.weights_digest in card
    assert "best of" not in card


def test_an_unmeasured_model_has_no_figures(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 1, asked=2, closing=False))
    card = render_model_card(view, 1)
    assert "This model was not evaluated." in card
    assert "1 of 2 training rounds are done" in card
    assert "model-index" not in card


EVIL = "<script>alert(1)</script>![x](http://evil.example/p.png)|`# [a](b)"


def test_what_a_client_says_of_its_device_is_no_markup(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 1))
    for index, client in enumerate(view.clients):
        view.clients[index] = replace(client, manifest=client.manifest.model_copy(update={"device": f"{EVIL} {index}"}))
    card = render_model_card(view, 1)
    row = next(line for line in card.splitlines() if line.startswith("| devices |"))
    assert row.count("|") - row.count("\\|") == 3
    assert not re.search(r"(?<!\\)[\[\]!`#<]", row)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\!\\[x\\](http" in row


def test_texts_from_outside_stay_in_their_cell(bucket, run_of):
    view = build_view(bucket, run_of(bucket, CLIENTS, 1))
    evil = view.clients[0].matched.model_copy(update={"ranges": "t`|<b>\n# x:0:0:5"})
    view.clients[0] = type(view.clients[0])(matched=evil, rounds=view.clients[0].rounds)
    row = next(line for line in render_model_card(view, 1).splitlines() if line.startswith("| `a`"))
    assert row.endswith("| `t'\\|<b> # x:0:0:5` |")
