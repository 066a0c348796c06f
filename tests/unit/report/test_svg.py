"""Axes and heat maps, against numbers worked out by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fedstream.report.heatmap import Grid, Refused, heatmap, level
from fedstream.report.svg import Chart, Line, line_chart, ticks, value_range
from fedstream.text import clean, count, duration, score, spans


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.61, 0.93, 3, [0.7, 0.8, 0.9]),
        (0, 300, 6, [0, 50, 100, 150, 200, 250, 300]),
        (-1, 1, 4, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, wanted, expected):
    assert ticks(low, high, wanted) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[0.5], [0.0, 0.0], [3.0, 3.0], [1e-9, 2e-9], [-4.0, 1e6]])
def test_an_axis_never_spans_nothing(values):
    low, high = value_range(values)
    assert low <= min(values)
    assert max(values) <= high
    assert low < high
    assert ticks(low, high, 5)


def test_points_lie_where_their_values_are():
    chart = Chart(
        "t",
        "d",
        [Line("global", [(0, 0.0), (10, 1.0)])],
        y_range=(0.0, 1.0),
        width=200,
        height=100,
        margins=(10, 20, 30, 40),
    )
    points = ElementTree.fromstring(line_chart(chart)).find("{*}polyline").get("points")
    assert points == "40.0,70.0 180.0,10.0"


def test_a_band_that_starts_before_the_line_stays_on_the_chart():
    chart = Chart(
        "t",
        "d",
        [Line("global", [(1, 0.5), (2, 0.6)])],
        band=[(0, 0.1, 0.2), (1, 0.4, 0.7)],
        width=200,
        height=100,
        margins=(10, 20, 30, 40),
    )
    band = ElementTree.fromstring(line_chart(chart)).find("{*}polygon").get("points")
    xs = [float(point.split(",")[0]) for point in band.split()]
    assert (min(xs), max(xs)) == (40.0, 110.0)


def test_one_round_can_be_drawn():
    ElementTree.fromstring(line_chart(Chart("t", "d", [Line("global", [(3, 0.5)])], target=0.9, best=(3, 0.5))))


def test_levels_span_the_scale():
    assert [level(value, 0, 7) for value in (-1, 0, 0.9, 1, 3.5, 6.9, 7, 99)] == [0, 0, 0, 1, 3, 6, 6, 6]
    assert level(5, 5, 5) == 6


def test_cells_show_numbers_refusals_and_gaps():
    grid = Grid(
        "t",
        "d",
        ["a", "b"],
        ["1", "2"],
        [[1.0, Refused("<late>")], [None, 10.0]],
        0,
        10,
        lambda value: f"{value:g}",
        "round",
        "client",
    )
    svg = ElementTree.fromstring(heatmap(grid))
    cells = [
        (group.get("class"), group.find("{*}text").text)
        for group in svg.iter("{http://www.w3.org/2000/svg}g")
        if group.get("class")
    ]
    assert cells == [("h0", "1"), ("refused", "✕"), ("none", "·"), ("h6", "10")]
    titles = [group.find("{*}title").text for group in svg.iter("{http://www.w3.org/2000/svg}g") if group.get("class")]
    assert titles[1] == "client a, round 2: refused, <late>"


def test_thousands_of_cells_are_strokes_with_neighbours_joined():
    columns = [str(number) for number in range(1, 301)]
    cells = [[1.0] * 100 + [None] * 100 + [Refused("late")] * 100 for _ in range(100)]
    svg = heatmap(Grid("t", "d", [f"c{row}" for row in range(100)], columns, cells, 0, 1, str, "round", "client"))
    paths = {
        path.get("class"): path.get("d")
        for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
    }
    assert paths["h6"].startswith("M0 0h100M0 1h100M")
    assert paths["refused"].startswith("M200 0h100M200 1h100")
    assert len(svg) < 20_000


def test_texts():
    assert spans([3, 1, 2, 7, 7]) == "1–3, 7"
    assert spans(range(0, 60, 2)).endswith(", 22 and 18 more")
    assert spans([]) == ""
    assert [duration(seconds) for seconds in (0, 59, 60, 3_700, 90_000)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "1 h 1 min",
        "1 d 1 h",
    ]
    assert [score(0.5), score(12345.6)] == ["0.5000", "1.235e+04"]
    assert [count(1, "client"), count(1200, "record"), count(2, "class")] == ["1 client", "1,200 records", "2 classes"]
    assert clean("a\x00b\u202ec\ud800\n") == "a�b�c�\n"
