"""How far the streams of a live run have drifted, by client and round."""

from __future__ import annotations

from collections.abc import Callable

from fedstream.record.summary import LARGEST, Drift
from fedstream.report.figures import MAX_COLUMNS, MAX_ROWS, Figure
from fedstream.report.heatmap import Cell, Grid, heatmap
from fedstream.report.view import RunView
from fedstream.text import clean

MEASURES: dict[str, tuple[str, Callable[[Drift], float | None], float]] = {
    "Classes": ("total variation distance of the class histograms", lambda found: found.classes, 1.0),
    "Means of the features": ("mean standardised difference", lambda found: found.mean, LARGEST),
    "Variances of the features": ("mean logarithm of the ratio", lambda found: found.variance, LARGEST),
}
"""Title -> what is measured, where it is in a Drift, and its largest value."""


def drift_figures(view: RunView) -> list[Figure]:
    """Return a heat map for each measure of drift, by client and round; none if the feed is not live."""
    found = {client.name: client.drifts for client in view.clients[:MAX_ROWS]}
    rounds = sorted({number for by_round in found.values() for number in by_round})[-MAX_COLUMNS:]
    figures = (_figure(title, *measure, found, rounds) for title, measure in MEASURES.items())
    return [figure for figure in figures if figure]


def _figure(
    title: str,
    what: str,
    value: Callable[[Drift], float | None],
    most: float,
    found: dict[str, dict[int, Drift]],
    rounds: list[int],
) -> Figure | None:
    cells: list[list[Cell]] = [
        [value(by_round[number]) if number in by_round else None for number in rounds] for by_round in found.values()
    ]
    values = [cell for row in cells for cell in row if isinstance(cell, float)]
    if not values:
        return None
    high = min(most, max(values) or most)
    said = f"{title}, {what} from the first slice of each client; at most {max(values):.2f}."
    grid = Grid(
        title,
        said,
        [clean(name) for name in found],
        [str(number) for number in rounds],
        cells,
        0.0,
        high,
        "{:.2f}".format,
        "round",
        "client",
    )
    return Figure(title, heatmap(grid), "drift", "0", f"{high:.2f}", f"{what[0].upper()}{what[1:]}.")
