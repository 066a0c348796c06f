"""The statistics of a run for the report and the command line: all clients, and each of them beside the others."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from fedstream.errors import CorruptObject, ObjectNotFound, RunError
from fedstream.record.statistics import ClientStatistics, FeatureStatistics, RunStatistics
from fedstream.report.strips import Strip, strips
from fedstream.statistics.combine import described
from fedstream.statistics.compare import Difference, differences
from fedstream.store.state import RunState
from fedstream.store.store import Store

MOST_FEATURES, MOST_CLIENTS = 40, 60
"""Maximum number of features that are drawn, and of clients in each drawing."""


@dataclass(frozen=True)
class Row:
    """A feature at one client."""

    client: str
    feature: FeatureStatistics
    differs: bool

    @property
    def deviation(self) -> float | None:
        return None if self.feature.variance is None else math.sqrt(self.feature.variance)


@dataclass(frozen=True)
class StatisticsView:
    """The statistics of a run.

    Attributes:
        statistics: What all clients say together.
        clients: What each client contributed, sorted by name; a damaged contribution is missing.
        differences: Features of clients that look as if they had another unit.
        classes: Names of the classes 0, 1, ...; empty if they have none.
    """

    statistics: RunStatistics
    clients: list[ClientStatistics]
    differences: list[Difference]
    classes: list[str]

    @property
    def rows(self) -> list[list[Row]]:
        """The clients of each feature, features that differ first."""
        odd = {(difference.client, difference.feature) for difference in self.differences}
        found = [
            [
                Row(client.client, described(client.features[place]), (client.client, feature.name) in odd)
                for client in self.clients
            ]
            for place, feature in enumerate(self.statistics.features)
        ]
        return sorted(found, key=lambda rows: not any(row.differs for row in rows))

    @property
    def drawings(self) -> list[tuple[str, Markup]]:
        """Name and drawing of the first features, with a strip for each client."""
        return [(rows[0].feature.name, _drawing(rows[:MOST_CLIENTS])) for rows in self.rows[:MOST_FEATURES] if rows]

    def class_name(self, label: str) -> str:
        """Return the name of a class."""
        known = label.isdecimal() and len(label) < 10 and int(label) < len(self.classes)
        return self.classes[int(label)] if known else label

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            **self.statistics.model_dump(mode="json"),
            "differences": [asdict(difference) for difference in self.differences],
            "by_client": {
                client.client: {
                    "records": client.records,
                    "class_counts": client.class_counts,
                    "features": [described(sums).model_dump(mode="json") for sums in client.features],
                }
                for client in self.clients
            },
        }


def statistics_view(state: RunState) -> StatisticsView | None:
    """Return the statistics of a run; None if it has gathered none so far.

    Raises:
        CorruptObject: The statistics are not those that the commit of round 0 names.
    """
    if not state.ledger.head() or state.statistics is None:
        return None
    said, clients = state.statistics, list[ClientStatistics]()
    names = [feature.name for feature in said.features]
    for client, digest in sorted(said.clients.items()):
        with suppress(CorruptObject, ObjectNotFound):
            document = state.statistics_of(client)
            if state.statistics_digest(client) == digest and [sums.name for sums in document.features] == names:
                clients.append(document)
    return StatisticsView(said, clients, differences(clients), state.record.classes)


def required_statistics(store: Store, run: str) -> StatisticsView:
    """Return the statistics of a run.

    Raises:
        RunError: There is no such run, or it has gathered none so far.
        CorruptObject: The statistics are not those that the commit of round 0 names.
    """
    state = RunState(store, run)
    asked = state.record.spec.gathers_statistics
    if view := statistics_view(state):
        return view
    raise RunError(
        f"run {run!r} has no statistics {'yet' if asked else ''}".rstrip()
        + ("; submit it again to continue it" if asked else """; ask for them with --statistics '{"gather": true}'""")
    )


def _drawing(rows: list[Row]) -> Markup:
    drawn = [Strip(row.client, strip, row.differs) for row in rows if (strip := _strip(row))]
    return strips(f"{rows[0].feature.name} at each client", drawn) if drawn else Markup("<p>It has no values.</p>")


def _strip(row: Row) -> tuple[float, float, float, float, float] | None:
    """Return five values in ascending order: quantiles or, with noise, the mean and up to two deviations around it."""
    feature, deviation = row.feature, row.deviation
    if feature.quantiles:
        a, b, c, d, e = (feature.quantiles[part] for part in ("0.05", "0.25", "0.5", "0.75", "0.95"))
        return a, b, c, d, e
    if feature.mean is None or deviation is None:
        return None
    a, b, c, d, e = (feature.mean + step * deviation for step in (-2, -1, 0, 1, 2))
    return a, b, c, d, e
