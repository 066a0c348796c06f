"""Decide whether a finished run becomes a version of its model.

This module uses neither Kafka nor TensorFlow.
"""

from __future__ import annotations

from fedstream.catalog.versions import Version, find_published, find_version, list_versions
from fedstream.record.commit import Commit
from fedstream.record.decision import higher_is_better, round_to_publish
from fedstream.record.documents import Metrics
from fedstream.record.spec import RunSpec
from fedstream.store.state import RunState

LARGEST = 1e12
"""Upper bound of a plausible metric.

After a training that diverged, a metric can be any number up to infinity.
"""


def why_unpublished(state: RunState) -> str:
    """Return why a finished run does not become a version, or an empty string.

    This depends on the run's policy and on the newest version of the model.

    Args:
        state: A run of which nothing is published yet.
    """
    spec, model = state.record.spec, state.record.model.name
    best, measured = best_measured(state)
    newest = (
        find_version(state.store, model) if spec.publish == "if-better" and list_versions(state.store, model) else None
    )
    return unfit(best, measured, spec.target_metric) or declined(spec, measured, newest)


def published(state: RunState) -> Version | None:
    """Return the version that was published from the run's last commit, or, of an indefinite run, of its best model."""
    store, model, commits = state.store, state.record.model.name, state.ledger.commits()
    if state.record.spec.indefinite:
        best, _ = best_measured(state)
        return find_published(store, model, state.run, state.ledger.digest(best.round), "commit")
    return find_published(store, model, state.run, state.ledger.digest(commits[-1].round))


def why_not_moved(state: RunState) -> str:
    """Return why an indefinite run publishes no further version, or an empty string."""
    spec, version = state.record.spec, published(state)
    if version is None or version.manifest.head == state.ledger.digest(state.ledger.commits()[-1].round):
        return ""
    way = {"auto": "", "up": " up", "down": " down"}[spec.change]
    return f"{spec.target_metric} has not moved{way} by {spec.improvement:g} since version {version.number}"


def best_measured(state: RunState) -> tuple[Commit, Metrics | None]:
    """Return the commit of the global model to publish, and the first measurement of that model."""
    commits = state.ledger.commits()
    best = state.ledger.commit(round_to_publish(commits, state.record.spec))
    return best, next(
        (commit.metrics for commit in commits if commit.measured_round == best.round and commit.metrics), None
    )


def unfit(best: Commit, measured: Metrics | None, metric: str) -> str:
    """Return why no policy publishes a model, or an empty string."""
    if best.kind == "initial":
        return "no round of training counts"
    if measured is None or metric not in measured.values:
        return (
            f"its quality is not known: round {best.round} was not measured on any record; in a new run, "
            "let clients hold records out"
            " (validation_rate above 0, and enough records), or name an evaluation_topic"
        )
    absurd = next(
        (f"{name} {value:.4g}" for name, value in sorted(measured.values.items()) if not abs(value) <= LARGEST), ""
    )
    return (
        f"round {best.round}, the best one, has {absurd}: training diverged; use a smaller learning_rate in a new run"
        if absurd
        else ""
    )


def declined(spec: RunSpec, measured: Metrics | None, newest: Version | None) -> str:
    """Return why the run's own policy does not publish it, or an empty string.

    Args:
        spec: The run's spec, with its policy and its target metric.
        measured: Metrics of the run's best model.
        newest: The model's newest version; None if there is none.
    """
    if spec.publish == "never":
        return "publish is `never`"
    if spec.publish == "always" or newest is None or measured is None:
        return ""
    metric, new = spec.target_metric, measured.values[spec.target_metric]
    old = newest.manifest.metrics.get(metric)
    if old is None:
        return f"publish is `if-better`, and version {newest.number} has no {metric} to compare with"
    better = new > old if higher_is_better(metric) else new < old
    return (
        ""
        if better
        else f"publish is `if-better`, and {metric} {new:.4f} is not better than {old:.4f} of version {newest.number}"
    )
