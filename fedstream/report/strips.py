"""Distributions beside each other as inline SVG: one strip for each, on one axis. Knows nothing of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedstream.report.svg import number, ticks, value_range

WIDTH, ROW, LABEL, CHARS = 480, 20, 118, 16
"""Width of the drawing, height of a row, and width and characters of its label."""

PLOT = WIDTH - 18
"""Right end of the axis."""


@dataclass(frozen=True)
class Strip:
    """A distribution.

    Attributes:
        name: Its name.
        values: Five values in ascending order: ends of the line, of the box, and the mark between them.
        marked: Whether it stands out.
    """

    name: str
    values: tuple[float, float, float, float, float]
    marked: bool = False


def strips(title: str, rows: Sequence[Strip]) -> Markup:
    """Draw distributions below each other.

    Args:
        title: Name of the drawing, for screen readers.
        rows: At least one distribution.
    """
    low, high = value_range([value for row in rows for value in row.values])
    bottom = ROW * len(rows) + 8

    def x(value: float) -> float:
        return round(LABEL + (value - low) / (high - low) * (PLOT - LABEL), 1)

    parts = []
    for value in ticks(low, high, 5):
        parts.append(Markup('<path class="grid" d="M{} 4V{}"/>').format(x(value), bottom))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                x(value), bottom + 15, number(value)
            )
        )
    for place, row in enumerate(rows):
        parts.append(_row(row, ROW * (place + 0.5) + 4, [x(value) for value in row.values]))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>'
    ).format(WIDTH, bottom + 22, title, Markup("").join(parts))


def _row(row: Strip, y: float, xs: list[float]) -> Markup:
    first, left, middle, right, last = xs
    name = row.name if len(row.name) <= CHARS else f"{row.name[: CHARS - 1]}…"
    said = f"{row.name}: {number(row.values[0])} to {number(row.values[4])}, middle {number(row.values[2])}"
    return Markup(
        '<g class="strip{}"><title>{}</title><text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        '<path class="reach" d="M{} {}H{}"/><rect x="{}" y="{}" width="{}" height="10"/>'
        '<path class="middle" d="M{} {}v14"/></g>'
    ).format(
        " odd" if row.marked else "",
        said,
        LABEL - 8,
        y + 4,
        name,
        first,
        y,
        last,
        left,
        y - 5,
        round(max(1.0, right - left), 1),
        middle,
        y - 7,
    )
