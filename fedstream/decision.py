"""Whether a run goes on after a measurement, and which model is its best. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fedstream.run import RunSpec
from fedstream.store.documents import Commit, Decision

LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "entropy")


def higher_is_better(metric: str) -> bool:
    """Tell a score from a loss by its Keras name."""
    return not any(word in metric.lower() for word in LOWER_IS_BETTER)


def decide(spec: RunSpec, measured: Sequence[float]) -> Decision:
    """Return whether the run stops, and why.

    Args:
        spec: names the metric, target and patience.
        measured: the target metric of each global model measured so far, oldest first.
    """
    metric, sign = spec.target_metric, 1.0 if higher_is_better(spec.target_metric) else -1.0
    if measured and spec.target_value and sign * measured[-1] >= sign * spec.target_value:
        return Decision(action="stop", reason=f"target reached: {metric} {measured[-1]:.4f}, asked {spec.target_value:g}")
    scores = [sign * value for value in measured]
    if spec.patience and len(scores) > spec.patience and max(scores[-spec.patience :]) <= max(scores[: -spec.patience]):
        return Decision(action="stop", reason=f"no better {metric} in {spec.patience} measurements")
    return Decision(action="continue", reason="")


def lineage(commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits that the head builds on: a rollback takes back what came after the round it restores, and stays itself."""
    kept: list[Commit] = []
    for commit in commits:
        if commit.kind == "rollback" and commit.restores is not None:
            kept = [before for before in kept if before.round <= commit.restores]
        kept.append(commit)
    return kept


def measurements(commits: Sequence[Commit], metric: str) -> list[tuple[int, float]]:
    """Return (round of the measured model, value) for each model measured, oldest first; the first measurement of a model counts."""
    values: dict[int, float] = {}
    for commit in commits:
        if commit.metrics and commit.measured_round is not None and metric in commit.metrics.values:
            values.setdefault(commit.measured_round, commit.metrics.values[metric])
    return list(values.items())


def best_round(commits: Sequence[Commit], metric: str) -> int:
    """Return the round of the best measured model (the earliest of equals); without measurements, the last trained round."""
    trained = {commit.round for commit in commits if commit.kind == "training"}
    sign = 1.0 if higher_is_better(metric) else -1.0
    candidates = [(sign * value, -round) for round, value in measurements(commits, metric) if round in trained]
    return -max(candidates)[1] if candidates else max(trained)
