"""Which commits count, whether a run continues after a measurement, and which model is the best. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fedstream import __version__
from fedstream.errors import UsageError
from fedstream.record.commit import ClientEntry, Commit, Decision
from fedstream.record.spec import RunSpec

ROUNDING = 1e-9
"""Part of a move that rounding can take, as in 0.85 - 0.80."""

LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "entropy")


def higher_is_better(metric: str) -> bool:
    """Tell whether a metric is a score or a loss, by its Keras name."""
    return not any(word in metric.lower() for word in LOWER_IS_BETTER)


def decide(spec: RunSpec, measured: Sequence[float]) -> Decision:
    """Decide whether the run stops, and why.

    Args:
        spec: the spec of the run, which names the metric, the target and the patience.
        measured: the target metric of each global model measured so far, oldest first.
    """
    metric, sign = spec.target_metric, 1.0 if higher_is_better(spec.target_metric) else -1.0
    if measured and spec.target_value and sign * measured[-1] >= sign * spec.target_value:
        return Decision(
            action="stop", reason=f"target reached: {metric} {measured[-1]:.4f}, asked {spec.target_value:g}"
        )
    scores = [sign * value for value in measured]
    if spec.patience and len(scores) > spec.patience and max(scores[-spec.patience :]) <= max(scores[: -spec.patience]):
        return Decision(action="stop", reason=f"no better {metric} in {spec.patience} measurements")
    return Decision(action="continue", reason="")


def lineage(commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits that the last one builds on, oldest first.

    Commits that a rollback reverted no longer count.

    Args:
        commits: all commits of a run, in order.
    """
    counted: list[Commit] = []
    for commit in commits:
        if commit.restores is not None:
            counted = [earlier for earlier in counted if earlier.round <= commit.restores]
        counted.append(commit)
    return counted


def trained_rounds(commits: Sequence[Commit]) -> int:
    """Return the number of training rounds that count."""
    return sum(commit.kind == "training" for commit in lineage(commits))


def last_accepted(commit_of: Callable[[int], Commit], round: int, client: str) -> tuple[int, ClientEntry] | None:
    """Return the last training round that counts in which a client's update was accepted, and its entry there.

    Args:
        commit_of: returns the commit of a round; asked from the last one backwards, and no further than needed.
        round: the last round to consider.
        client: name of the client.
    """
    while round > 0:
        commit = commit_of(round)
        if commit.restores is not None:  # what it went back to counts, not what lies between
            round = commit.restores
            continue
        for entry in commit.clients:
            if commit.kind == "training" and entry.client == client and entry.accepted:
                return round, entry
        round -= 1
    return None


def next_pass(kind: str, trained: int) -> str:
    """Describe the next pass of a run that has trained so many rounds, which are numbered as `--rounds` counts them."""
    return "the closing pass is next" if kind == "closing" else f"round {trained + (kind == 'training')} is next"


def rounds_behind(commits: Sequence[Commit]) -> dict[int, int]:
    """Return, for the number of each commit, how many training rounds led to its model.

    This is also the number of a training round, as `--rounds` counts them.

    Args:
        commits: all commits of a run, in order.
    """
    behind: dict[int, int] = {}
    for commit in commits:
        base = commit.round - 1 if commit.restores is None else commit.restores
        behind[commit.round] = behind.get(base, 0) + (commit.kind == "training")
    return behind


def model_round(commits: Sequence[Commit]) -> int:
    """Return the round that made the global model of the last commit; closing rounds and rollbacks make no model."""
    number = len(commits) - 1
    while (commit := commits[number]).kind in ("closing", "rollback"):
        number = number - 1 if commit.restores is None else commit.restores
    return number


def rolled_back(commits: Sequence[Commit], parent: str, to: int) -> Commit:
    """Return the commit that rolls a run back from its last commit to the model of an earlier one.

    Args:
        commits: all commits of a run so far, in order.
        parent: SHA-256 of the bytes of the last commit.
        to: a round of the lineage that made a model.

    Raises:
        UsageError: `to` is not such a round; the message names the possible rounds.
    """
    rounds = [commit.round for commit in lineage(commits)[:-1] if commit.kind in ("initial", "training")]
    head = commits[-1]
    if to not in rounds:
        known = f"it can go back to {', '.join(map(str, rounds))}" if rounds else "no round is behind its last one"
        raise UsageError(f"run {head.run!r} cannot go back to round {to}; {known}")
    return Commit(
        run=head.run,
        round=head.round + 1,
        kind="rollback",
        parent=parent,
        base_digest=head.weights_digest,
        weights_digest=commits[to].weights_digest,
        server_state_digest=commits[to].server_state_digest,
        broadcast_digest=commits[to].broadcast_digest,
        restores=to,
        decision=Decision(action="continue", reason=f"went back to the model of round {to}"),
        code_version=__version__,
    )


def measurements(commits: Sequence[Commit], metric: str) -> list[tuple[int, float]]:
    """Return (round of the measured model, value) for each measured model that still counts, oldest first.

    Of several measurements of a model, the first one counts.
    """
    values: dict[int, float] = {}
    counted = {commit.round for commit in lineage(commits)}
    for commit in commits:
        if (
            commit.metrics
            and commit.measured_round is not None
            and commit.measured_round in counted
            and metric in commit.metrics.values
        ):
            values.setdefault(commit.measured_round, commit.metrics.values[metric])
    return list(values.items())


def round_to_publish(commits: Sequence[Commit], spec: RunSpec) -> int:
    """Return the round of the model that a run publishes.

    This is the best model of a run that ends. Of an indefinite run, it is the model with which the target metric last
    moved by `improvement` in the direction of `change`; the first measured model counts as a move. On an evaluation
    topic, moves are counted from the value of the model before. Under federated evaluation, they are counted from the
    worst value since then, of any model: where a stream drifts, the old model is measured on the new records, and what
    the next one gains on these is the move.
    """
    if not spec.indefinite:
        return best_round(commits, spec.target_metric)
    up = higher_is_better(spec.target_metric) if spec.change == "auto" else spec.change == "up"
    counted = {commit.round: commit.kind for commit in lineage(commits)}
    found, since, seen = max((n for n, kind in counted.items() if kind == "training"), default=0), -math.inf, {0}
    for commit in commits:
        number, values = commit.measured_round, commit.metrics.values if commit.metrics else {}
        if number is None or number not in counted or spec.target_metric not in values:
            continue
        score = values[spec.target_metric] * (1 if up else -1)
        if number not in seen and score - since >= spec.improvement - ROUNDING:
            found, since = number, score
        elif spec.federated_evaluation:
            since = min(since, score)
        seen.add(number)
    return found


def best_round(commits: Sequence[Commit], metric: str) -> int:
    """Return the round of the best measured model that counts; of equally good models, the earliest.

    Without measurements, this is the last training round, or 0.
    """
    trained = {commit.round for commit in lineage(commits) if commit.kind == "training"}
    sign = 1.0 if higher_is_better(metric) else -1.0
    candidates = [(sign * value, -round) for round, value in measurements(commits, metric) if round in trained]
    return -max(candidates)[1] if candidates else max(trained, default=0)
