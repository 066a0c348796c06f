"""A run as pandas DataFrames, with one row for each round and for each client of a round.

Pandas is imported only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedstream.record.commit import ClientEntry
from fedstream.record.documents import Metrics
from fedstream.report.contributions import share_of, value_of
from fedstream.report.elements import RoundView
from fedstream.report.view import RunView, build_view
from fedstream.store.objects import ObjectStore
from fedstream.store.store import Store

if TYPE_CHECKING:
    import pandas

ROUND_COLUMNS = [
    "measured_on",
    "clients",
    "accepted",
    "records",
    "bytes",
    "seconds",
    "counts",
    "decision",
    "reason",
    "weights_digest",
]
CONTRIBUTION = ["share", "norm", "cosine", "value"]
TAKEN = {"round", "kind", *ROUND_COLUMNS}
"""Names of columns that a metric cannot have."""


@dataclass(frozen=True)
class History:
    """The record of a run as DataFrames.

    Attributes:
        rounds: One row for each round, with the columns round, kind, one column for each metric of the round's own
            global model (NaN if it was not measured), measured_on (number of records), clients (number asked),
            accepted, records (number trained on), bytes (of all accepted updates), seconds, counts (False for a round
            undone by a rollback), decision, reason, weights_digest.
        clients: One row for each client and round, with the columns round, kind, client, accepted, reason,
            num_examples, share (of all examples in accepted updates), norm and cosine (of the update's change, compared
            with that of the global model), value (by how much the target metric is better with the update; NaN if that
            was not measured), incoming_METRIC and trained_METRIC (the received and the trained model on the client's
            held-out records), records (number in its slice), ranges (topic:partition:start:end,...), slice_digest,
            update_digest, bytes (of its update in the store).
    """

    rounds: pandas.DataFrame
    clients: pandas.DataFrame


def history(run: str, store: Store | None = None) -> History:
    """Return the record of a run as DataFrames.

        fedstream.history("first").rounds.plot(x="round", y="accuracy")

    Args:
        run: Name of the run.
        store: Bucket of the run; None for the bucket in the environment.

    Raises:
        RunError: There is no such run in the bucket.
    """
    return to_history(build_view(store or ObjectStore.from_env(), run))


def to_history(view: RunView) -> History:
    """Convert a view to DataFrames."""
    import pandas

    names = metrics_of(view)
    round_columns = ["round", "kind", *names, *ROUND_COLUMNS]
    measured = [f"{which}_{name}" for name in names for which in ("incoming", "trained")]
    verdict = ["round", "kind", "client", "accepted", "reason", "num_examples"]
    client_columns = [*verdict, *CONTRIBUTION, *measured, "records", "ranges", "slice_digest", "update_digest", "bytes"]
    rounds = [
        {
            "round": item.number,
            "kind": item.commit.kind,
            **_values(item.metrics, names),
            "measured_on": item.metrics.num_examples if item.metrics else 0,
            "clients": len(item.commit.clients),
            "accepted": len(item.accepted),
            "records": item.records,
            "bytes": sum(item.sent.values()),
            "seconds": item.seconds,
            "counts": item.counts,
            "decision": item.commit.decision.action,
            "reason": item.commit.decision.reason,
            "weights_digest": item.commit.weights_digest,
        }
        for item in view.rounds
    ]
    clients = [
        _client_row(item, entry, names, view.metric) | {"bytes": item.sent.get(entry.client, 0)}
        for item in view.rounds
        for entry in item.commit.clients
    ]
    return History(pandas.DataFrame(rounds, columns=round_columns), pandas.DataFrame(clients, columns=client_columns))


def metrics_of(view: RunView) -> list[str]:
    """Return the metrics with a column of their own; a metric with the name of another column is left out."""
    return [name for name in view.metric_names if name not in TAKEN]


def _client_row(item: RoundView, entry: ClientEntry, names: list[str], metric: str) -> dict[str, Any]:
    told = entry.contribution
    return {
        "round": item.number,
        "kind": item.commit.kind,
        "client": entry.client,
        "accepted": entry.accepted,
        "reason": entry.reason,
        "num_examples": entry.num_examples,
        "share": share_of(item, entry),
        "norm": told.norm if told else None,
        "cosine": told.cosine if told else None,
        "value": value_of(item, entry.client, metric),
        **_values(entry.incoming, names, "incoming_"),
        **_values(entry.trained, names, "trained_"),
        "records": sum(part.end - part.start for part in entry.ranges),
        "ranges": ",".join(f"{part.topic}:{part.partition}:{part.start}:{part.end}" for part in entry.ranges),
        "slice_digest": entry.slice_digest,
        "update_digest": entry.update_digest,
    }


def _values(metrics: Metrics | None, names: list[str], prefix: str = "") -> dict[str, float]:
    found = metrics.values if metrics else {}
    return {f"{prefix}{name}": found.get(name, float("nan")) for name in names}
