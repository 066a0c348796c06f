"""The figures of the report: select the numbers of a RunView for each chart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedstream.report.elements import ClientView
from fedstream.report.heatmap import Cell, Grid, Refused, heatmap
from fedstream.report.interval import class_name
from fedstream.report.svg import Chart, Line, line_chart, value_range
from fedstream.report.view import RunView
from fedstream.text import capital, clean, count, score

SMALL_MULTIPLES = 12
"""Maximum number of clients with a chart of their own; more clients are shown as rows of a heat map."""

MAX_ROWS, MAX_COLUMNS, MAX_CLASSES = 100, 400, 100
"""Maximum number of rows (clients or classes) and columns (rounds) of a heat map: 100 x 400 cells are about 300 kB."""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption.

    Attributes:
        title: Heading of the figure.
        svg: The drawing.
        legend: Kind of the legend: `line`, `band`, `curves`, `scale`, `records`, `share`, or empty.
        low: Label of the lower end of the scale.
        high: Label of the upper end of the scale.
        note: What is not shown, if anything.
    """

    title: str
    svg: Markup
    legend: str = ""
    low: str = ""
    high: str = ""
    note: str = ""


def learning(view: RunView) -> list[Figure]:
    """Return one chart for each metric of the global models."""
    return [_learning(view, name) for name in view.metric_names]


def _learning(view: RunView, name: str) -> Figure:
    points, decides = view.series(name), name == view.metric
    values = dict(points)
    last_round, last = points[-1]
    said = (
        f"{name} of the global model after each round: {score(points[0][1])} in round {points[0][0]}, "
        f"{score(last)} in round {last_round}."
    )
    best = (view.best, values[view.best]) if decides and view.best in values else None
    if best:
        said += f" The best is {score(best[1])} in round {best[0]}."
    target = view.record.spec.target_value if decides and view.record.spec.target_value else None
    if target is not None:
        said += f" The target is {target:g}."
    band = view.spread(name)
    chart = Chart(f"{name} by round", said, [Line("global model", points)], band=band, target=target, best=best)
    return Figure(capital(name), line_chart(chart), "band" if band else "line")


def client_curves(view: RunView, name: str) -> list[Figure]:
    """Return a small chart for each client, all with the same axes.

    The result is empty if there are too many clients or nothing was measured.
    """
    lines = {client.name: (client.curve("incoming", name), client.curve("trained", name)) for client in view.clients}
    values = [y for pair in lines.values() for points in pair for _, y in points]
    if not values or len(view.clients) > SMALL_MULTIPLES:
        return []
    rounds = [x for pair in lines.values() for points in pair for x, _ in points]
    return [
        _client_curve(client, name, lines[client.name], (min(rounds), max(rounds)), value_range(values))
        for client in view.clients
    ]


def _client_curve(
    client: ClientView,
    name: str,
    lines: tuple[list[tuple[int, float]], list[tuple[int, float]]],
    rounds: tuple[float, float],
    values: tuple[float, float],
) -> Figure:
    received, trained = lines
    if not received and not trained:
        return Figure(client.name, Markup("<p class='nothing'>Nothing was measured at this client.</p>"))
    ends = [
        f"{words} {score(points[-1][1])} in round {points[-1][0]}"
        for words, points in (("received", received), ("trained", trained))
        if points
    ]
    chart = Chart(
        f"{name} at {client.name}",
        f"{name} on the held-out records of {client.name}; last values: {', '.join(ends)}.",
        [Line("trained here", trained, "second"), Line("received", received, "first")],
        x_range=rounds,
        y_range=values,
        width=300,
        height=170,
        margins=(12, 14, 38, 44),
    )
    return Figure(client.name, line_chart(chart), "curves")


def client_scores(view: RunView, name: str) -> Figure | None:
    """Return a heat map of the received model's metric, by client and round; None if nothing was measured."""
    clients, rounds, note = _capped(view)
    cells = _cells(clients, rounds, lambda client: client.curve("incoming", name))
    values = sorted(cell for row in cells for cell in row if isinstance(cell, float))
    if not values:
        return None
    low, high = values[len(values) // 20], values[-1 - len(values) // 20]
    said = (
        f"{name} of the global model each client received, on its own held-out records; "
        f"from {score(values[0])} to {score(values[-1])}."
    )
    title = f"{capital(name)} of the received model at each client"
    grid = _grid(title, said, clients, rounds, cells, (low, high), "{:.3f}")
    return Figure(title, heatmap(grid), "scale", f"up to {score(low)}", f"{score(high)} and more", note)


def records(view: RunView) -> Figure | None:
    """Return a heat map of the records in each update, with refused updates marked; None before the first round."""
    clients, rounds, note = _capped(view, training=True)
    if not rounds or not clients:
        return None
    cells = _cells(
        clients, rounds, lambda client: [(number, float(entry.num_examples)) for number, entry in client.trained]
    )
    values = [cell for row in cells for cell in row if isinstance(cell, float)]
    high = max(values, default=0.0)
    refused = sum(isinstance(cell, Refused) for row in cells for cell in row)
    said = f"Records each client trained on in each round, at most {high:,.0f}; {count(refused, 'refused update')}."
    title = "Records trained on, and refusals"
    grid = _grid(title, said, clients, rounds, cells, (0, high), "{:,.0f}")
    return Figure(title, heatmap(grid), "records", "0 records", f"{high:,.0f} records", note)


def _grid(
    title: str,
    said: str,
    clients: list[ClientView],
    rounds: list[int],
    cells: list[list[Cell]],
    scale: tuple[float, float],
    value: str,
) -> Grid:
    names, numbers = [client.name for client in clients], [str(number) for number in rounds]
    return Grid(title, said, names, numbers, cells, *scale, value.format, "round", "client")


def _cells(
    clients: list[ClientView], rounds: list[int], values: Callable[[ClientView], Iterable[tuple[int, float]]]
) -> list[list[Cell]]:
    """Return a row for each client and a column for each round: a value, a refusal, or nothing."""
    rows: list[list[Cell]] = []
    for client in clients:
        known: dict[int, Cell] = {
            **dict(values(client)),
            **{number: Refused(clean(entry.reason)) for number, entry in client.refused},
        }
        rows.append([known.get(number) for number in rounds])
    return rows


def _capped(view: RunView, training: bool = False) -> tuple[list[ClientView], list[int], str]:
    """Return the clients and rounds that fit in a heat map, and a note on what is not shown."""
    kinds = ("training",) if training else ("training", "closing")
    rounds = [item.number for item in view.rounds if item.counts and item.commit.kind in kinds]
    notes = []
    if len(rounds) > MAX_COLUMNS:
        notes.append(f"the last {MAX_COLUMNS} of {count(len(rounds), 'round')}")
    if len(view.clients) > MAX_ROWS:
        notes.append(f"the first {MAX_ROWS} of {count(len(view.clients), 'client')}")
    return view.clients[:MAX_ROWS], rounds[-MAX_COLUMNS:], f"Shown: {' and '.join(notes)}." if notes else ""


def classes(view: RunView) -> Figure | None:
    """Return a heat map of the records of each class at each client; None if there are no or too many classes."""
    clients = [client for client in view.clients if client.slice and client.slice.class_counts][:MAX_ROWS]
    labels = sorted(
        {label for client in clients if client.slice for label in client.slice.class_counts},
        key=lambda label: (len(label), label),
    )
    if not labels or len(labels) > MAX_CLASSES:
        return None
    counts = [[client.slice.class_counts.get(label, 0) for label in labels] for client in clients if client.slice]
    shade = [[value / max(sum(row), 1) for value in row] for row in counts]
    high = max(value for row in shade for value in row)
    title = "Classes at each client"
    said = (
        f"Records of each class in the newest slice of each client; the largest share is {high:.0%} of its "
        "client's records."
    )
    grid = Grid(
        title,
        said,
        [client.name for client in clients],
        [class_name(view.classes, label) for label in labels],
        counts,
        0,
        high,
        number_of,
        "class",
        "client",
        shade,
    )
    note = f"Shown: the first {MAX_ROWS} clients." if len(view.clients) > MAX_ROWS else ""
    return Figure(title, heatmap(grid), "share", "none", f"{high:.0%} of the client's records", note)


def confusion(matrix: list[list[int]], names: Sequence[str] = ()) -> Figure:
    """Return the heat map of a confusion matrix, shaded by the share of the true class.

    Classes without a name are numbered.
    """
    labels = [class_name(names, label) for label in range(len(matrix))]
    shade = [[value / max(sum(row), 1) for value in row] for row in matrix]
    right = sum(matrix[label][label] for label in range(len(matrix)))
    said = (
        f"Counts of true class (rows) by predicted class (columns): {right:,} of {sum(map(sum, matrix)):,} "
        "records are on the diagonal (correct)."
    )
    grid = Grid(
        "Confusion matrix", said, labels, labels, matrix, 0, 1, number_of, "predicted class", "true class", shade
    )
    return Figure("Confusion matrix", heatmap(grid), "share", "none", "all of the true class")


def number_of(value: float) -> str:
    """Format a count in a cell; 0 is a dot, so that other values stand out."""
    return f"{value:,.0f}" if value else "·"
