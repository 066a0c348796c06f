"""Line charts as inline SVG, in the colours of the page's CSS. Knows nothing of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

MAX_MARKERS = 40
"""Maximum number of points of a line with a marker and a tooltip; more markers would touch."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: Name in the legend and the tooltips.
        points: (x, y), sorted by x.
        style: CSS class: `first` is solid with round markers, `second` dashed with square ones.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "first"


@dataclass(frozen=True)
class Chart:
    """A line chart over rounds.

    Attributes:
        title: Name of the figure, also for screen readers.
        description: Description of the chart in a sentence, for screen readers.
        lines: Lines, in the order in which they are drawn.
        band: (x, low, high) of a shaded area behind the lines.
        target: Value of a horizontal line.
        best: (x, y) of the point to mark.
        x_range: Range of rounds shown; None for that of the lines and the band.
        y_range: Range of values shown; None for that of the lines and the band.
        width: Width of the drawing, which scales to the page.
        height: Height of the drawing.
        margins: Margins around the axes: top, right, bottom, left.
    """

    title: str
    description: str
    lines: Sequence[Line]
    band: Sequence[tuple[float, float, float]] = ()
    target: float | None = None
    best: tuple[float, float] | None = None
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    width: int = 480
    height: int = 270
    margins: tuple[int, int, int, int] = (14, 16, 40, 48)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    step = _step(low, high, count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _step(low: float, high: float, count: int) -> float:
    rough = (high - low) / max(count, 1)
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.8)


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of an axis, slightly larger than that of its values.

    The range is never empty, and does not pass 0 or 1 unless the values do.
    """
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 0.5
    return (low - pad if low < 0 or low - pad > 0 else 0.0), (1.0 if 0.5 < high <= 1 < high + pad else high + pad)


def number(value: float) -> str:
    """Format a number briefly, for an axis or a cell."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}"


def line_chart(chart: Chart) -> Markup:
    """Draw a chart.

    Args:
        chart: Chart in which at least one line has a point.
    """
    return _Canvas(chart).draw()


class _Canvas:
    """The scales of a chart, and the elements that are drawn on them."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        top, right, bottom, left = chart.margins
        self.left, self.top, self.right, self.bottom = left, top, chart.width - right, chart.height - bottom
        xs = [x for line in chart.lines for x, _ in line.points] + [x for x, _, _ in chart.band]
        ys = [y for line in chart.lines for _, y in line.points] + [
            edge for _, low, high in chart.band for edge in (low, high)
        ]
        ys += [chart.target] if chart.target is not None else []
        self.x0, self.x1 = chart.x_range or (min(xs), max(xs))
        if self.x0 == self.x1:
            self.x0, self.x1 = self.x0 - 1, self.x1 + 1
        self.y0, self.y1 = chart.y_range or value_range(ys)

    def x(self, value: float) -> float:
        return round(self.left + (value - self.x0) / (self.x1 - self.x0) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        share = min(1.0, max(0.0, (value - self.y0) / (self.y1 - self.y0)))
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def draw(self) -> Markup:
        chart = self.chart
        parts = [
            *self._axes(),
            *self._band(),
            *self._target(),
            *(part for line in chart.lines for part in self._line(line)),
            *self._best(),
        ]
        return Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {} {}" '
            'role="img"><title>{}</title><desc>{}</desc>{}</svg>'
        ).format(chart.width, chart.height, chart.title, chart.description, Markup("").join(parts))

    def _axes(self) -> list[Markup]:
        parts = []
        for value in ticks(self.y0, self.y1, max(2, (self.bottom - self.top) // 36)):
            y = self.y(value)
            parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(self.left, y, self.right))
            parts.append(_text(self.left - 6, y + 4, number(value), "end"))
        whole = [
            value
            for value in ticks(self.x0, self.x1, max(2, (self.right - self.left) // 60))
            if value == int(value) and value >= 0
        ]
        parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(self.left, self.bottom, self.right))
        for value in whole:
            parts.append(Markup('<path class="axis" d="M{} {}v4"/>').format(self.x(value), self.bottom))
            parts.append(_text(self.x(value), self.bottom + 17, number(value), "middle"))
        parts.append(_text((self.left + self.right) / 2, self.bottom + 33, "round", "middle", "label"))
        return parts

    def _band(self) -> list[Markup]:
        if not self.chart.band:
            return []
        there = " ".join(f"{self.x(x)},{self.y(high)}" for x, _, high in self.chart.band)
        back = " ".join(f"{self.x(x)},{self.y(low)}" for x, low, _ in reversed(self.chart.band))
        return [Markup('<polygon class="band" points="{} {}"/>').format(there, back)]

    def _target(self) -> list[Markup]:
        target = self.chart.target
        if target is None:
            return []
        y = self.y(target)
        line = Markup('<path class="target" d="M{} {}H{}"/>').format(self.left, y, self.right)
        return [
            line,
            _text(self.left + 6, y - 5 if y > self.top + 12 else y + 14, f"target {target:g}", "start", "target-label"),
        ]

    def _line(self, line: Line) -> list[Markup]:
        if not line.points:
            return []
        path = Markup('<polyline class="line {}" points="{}"/>').format(
            line.style, " ".join(f"{self.x(x)},{self.y(y)}" for x, y in line.points)
        )
        if len(line.points) > MAX_MARKERS:
            return [path]
        return [path, *(self._marker(line, x, y) for x, y in line.points)]

    def _marker(self, line: Line, x: float, y: float) -> Markup:
        said = Markup("<title>{}, round {}: {}</title>").format(line.name, number(x), f"{y:.4f}")
        if line.style == "second":
            return Markup('<rect class="marker second" x="{}" y="{}" width="5" height="5">{}</rect>').format(
                round(self.x(x) - 2.5, 1), round(self.y(y) - 2.5, 1), said
            )
        return Markup('<circle class="marker first" cx="{}" cy="{}" r="3">{}</circle>').format(
            self.x(x), self.y(y), said
        )

    def _best(self) -> list[Markup]:
        if not self.chart.best:
            return []
        value = self.chart.best[1]
        x, y = self.x(self.chart.best[0]), self.y(value)
        anchor = "start" if x < self.left + 60 else "end" if x > self.right - 60 else "middle"
        ring = Markup('<circle class="best" cx="{}" cy="{}" r="7"/>').format(x, y)
        crowded = self.chart.target is not None and 0 <= y - self.y(self.chart.target) < 28
        below = crowded or y < self.top + 14
        return [ring, _text(x, y + 22 if below else y - 12, f"best: {value:.4f}", anchor, "best-label")]


def _text(x: float, y: float, words: str, anchor: str, style: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, round(x, 1), round(y, 1), anchor, escape(words)
    )
