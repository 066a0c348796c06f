"""Heat maps as inline SVG. Knows nothing of runs.

Cells contain numbers while they fit; with thousands of cells, each row consists of strokes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

LEVELS = 7
"""Number of steps of the colour scale: CSS classes h0 (low) to h6 (high)."""

MAX_CELLS = 500
"""Maximum number of cells that are drawn individually, with a number and a tooltip."""

LABEL_CHARS = 18


@dataclass(frozen=True)
class Refused:
    """A refused update in place of a number, with the reason."""

    reason: str


Cell = float | Refused | None
"""A number, a refusal, or None (the client was not asked)."""


@dataclass(frozen=True)
class Grid:
    """A heat map.

    Attributes:
        title: Name of the figure, also for screen readers.
        description: Description of the map in a sentence, for screen readers.
        rows: Names of the rows, from top to bottom.
        columns: Names of the columns, from left to right.
        cells: Cells by row, then by column.
        low: Value of the lightest colour.
        high: Value of the darkest colour.
        write: Function that formats a number in a cell.
        column_label: Label of the columns.
        row_label: Label of the rows.
        shade: Values that determine the colours, by row, then by column, if these are not the numbers themselves.
    """

    title: str
    description: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    low: float
    high: float
    write: Callable[[float], str]
    column_label: str
    row_label: str
    shade: Sequence[Sequence[float]] | None = None


def level(value: float, low: float, high: float) -> int:
    """Return the colour step of a value, in 0 ... LEVELS - 1."""
    share = (value - low) / (high - low) if high > low else 1.0
    return min(LEVELS - 1, max(0, int(share * LEVELS)))


def heatmap(grid: Grid) -> Markup:
    """Draw a heat map, as wide as its cells need."""
    small = len(grid.rows) * len(grid.columns) <= MAX_CELLS and len(grid.columns) <= 40
    longest = max(
        (len(grid.write(cell)) for row in grid.cells for cell in row if isinstance(cell, float | int)), default=1
    )
    longest = max([longest, *(len(_short(name)) for name in grid.columns)])
    width = max(30.0, longest * 7.4 + 10) if small else max(2.0, min(12.0, 780 / len(grid.columns)))
    height = 26 if small else 11
    longest_name = max(len(grid.row_label), *(len(_short(name)) for name in grid.rows))
    left = 14 + longest_name * (7.2 if small else 6.2)
    body = _cells(grid, width, height) if small else _strokes(grid, width, height)
    labels = [*_row_labels(grid, height, left, small), *_column_labels(grid, width, height, left)]
    full_width, full_height = round(left + width * len(grid.columns) + 24), height * len(grid.rows) + 58
    style = "heat" if small else "heat dense"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="{}" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img">'
        "<title>{}</title><desc>{}</desc>"
        '{}<g transform="translate({left} 34)">{}</g></svg>'
    ).format(
        style,
        grid.title,
        grid.description,
        Markup("").join(labels),
        Markup("").join(body),
        w=full_width,
        h=full_height,
        left=round(left, 1),
    )


def _shade(grid: Grid, row: int, column: int, value: float) -> int:
    return level(grid.shade[row][column] if grid.shade else value, grid.low, grid.high)


def _cells(grid: Grid, width: float, height: float) -> list[Markup]:
    parts = []
    for row, column in itertools.product(range(len(grid.rows)), range(len(grid.columns))):
        cell = grid.cells[row][column]
        said = f"{grid.row_label} {grid.rows[row]}, {grid.column_label} {grid.columns[column]}"
        x, y = round(column * width, 1), row * height
        if cell is None:
            style, text, said = "none", "·", f"{said}: not asked"
        elif isinstance(cell, Refused):
            style, text, said = "refused", "✕", f"{said}: refused, {cell.reason}"
        else:
            style, text = f"h{_shade(grid, row, column, cell)}", grid.write(cell)
            said = f"{said}: {text}"
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}"/><text x="{}" y="{}" '
                'text-anchor="middle">{}</text></g>'
            ).format(
                style,
                said,
                x,
                y,
                round(width - 2, 1),
                height - 2,
                round(x + width / 2 - 1, 1),
                y + height / 2 + 3,
                text,
            )
        )
    return parts


def _strokes(grid: Grid, width: float, height: float) -> list[Markup]:
    """Draw each colour as one path in which neighbours are joined, so that a cell takes only a few bytes."""
    paths: dict[str, list[str]] = {}
    for row, cells in enumerate(grid.cells):
        column = 0
        styles = [
            "" if cell is None else "refused" if isinstance(cell, Refused) else f"h{_shade(grid, row, at, cell)}"
            for at, cell in enumerate(cells)
        ]
        for style, same in itertools.groupby(styles):
            length = len(list(same))
            if style:
                paths.setdefault(style, []).append(f"M{column} {row}h{length}")
            column += length
    scale = f"translate(0 {height / 2:g}) scale({width:.3f} {height:g})"
    return [
        Markup('<path class="{}" transform="{}" d="{}"/>').format(style, scale, "".join(paths[style]))
        for style in sorted(paths)
    ]


def _row_labels(grid: Grid, height: float, left: float, small: bool) -> list[Markup]:
    return [
        Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            round(left - 8, 1), round(34 + (row + 0.5) * height + (3 if small else 3.5), 1), _short(name)
        )
        for row, name in enumerate(grid.rows)
    ]


def _column_labels(grid: Grid, width: float, height: float, left: float) -> list[Markup]:
    every = next(
        step for factor in itertools.count() for base in (1, 2, 5) if (step := base * 10**factor) * width >= 24
    )
    parts = [Markup('<text class="label" x="{}" y="12">{} →</text>').format(round(left, 1), grid.column_label)]
    shown = [index for index in range(len(grid.columns)) if every == 1 or _multiple(grid.columns[index], every)]
    for column in shown:
        parts.append(
            Markup('<text class="tick" x="{}" y="28" text-anchor="middle">{}</text>').format(
                round(left + (column + 0.5) * width - 1, 1), _short(grid.columns[column])
            )
        )
    parts.append(
        Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}</text>').format(
            round(left - 8, 1), 28, grid.row_label
        )
    )
    return parts


def _multiple(name: str, every: int) -> bool:
    return name.isdecimal() and len(name) < 10 and int(name) % every == 0


def _short(name: str) -> str:
    return name if len(name) <= LABEL_CHARS else f"{name[: LABEL_CHARS - 1]}…"
