"""Clients beside each other: in the report, on the command line and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.wards import STEPS, run, wards
from typer.testing import CliRunner

from fedstream.cli.app import app
from fedstream.errors import RunError
from fedstream.report.html import render_report
from fedstream.report.statistics import required_statistics
from fedstream.report.strips import Strip, strips
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.store.disk import DiskStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in which one client measures glucose in another unit."""
    path = tmp_path_factory.mktemp("store")
    memory = Context.in_memory()
    context = wards(Context(DiskStore(path), memory.brokers, noise_secret=memory.noise_secret), south=18.0)
    run(context)
    return path


def said(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["statistics", "r", "--store", str(folder), *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_report_names_the_client_and_the_feature(folder: Path) -> None:
    page = render_report(build_view(DiskStore(folder), "r"))
    section = page[page.index('<section id="statistics">') :]
    warning = section[: section.index("</ul>")]
    assert "glucose at south has mean 5" in warning
    assert "ward at" not in warning
    assert section.count('class="strip odd"') == 2, "with two clients, each is far from the other"
    assert section.count('<g class="strip"><title>') == 4, "ward and age look alike"
    assert "tiny is left out of the statistics: it has" in section
    assert '<a href="#statistics">' in page


def test_a_run_without_statistics_has_no_such_section() -> None:
    context = wards(clients=("north",))
    run(context, preprocessing={"steps": STEPS[1:]})
    assert 'id="statistics"' not in render_report(build_view(context.store, "r"))
    with pytest.raises(RunError, match="run 'r' has no statistics; ask for them with --statistics"):
        required_statistics(context.store, "r")


def test_the_command_shows_each_feature_and_the_warnings(folder: Path) -> None:
    output = said(folder)
    for text in ("glucose", "25 %", "classes: 0", "tiny is left out", "glucose at south has mean"):
        assert text in output


def test_json_has_each_client_too(folder: Path) -> None:
    document = json.loads(said(folder, "--json"))
    assert [feature["name"] for feature in document["features"]] == ["glucose", "ward", "age"]
    assert document["by_client"].keys() == {"north", "south"}
    assert {difference["feature"] for difference in document["differences"]} == {"glucose"}
    assert document["by_client"]["north"]["features"][0]["bins"]


def test_a_name_is_text_in_a_drawing() -> None:
    drawn = strips("x", [Strip("<script>", (0, 1, 2, 3, 4)), Strip("b" * 40, (1, 1, 1, 1, 1), marked=True)])
    assert "<script>" not in drawn
    assert f"{'b' * 15}…" in drawn
