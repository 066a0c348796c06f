import pytest

from fedstream.decision import best_round, decide, higher_is_better
from fedstream.run import RunSpec
from fedstream.store.documents import Commit, Decision, Metrics


def spec(**fields):
    return RunSpec(run="r", model="m", **fields)


def commit(round, kind="training", measured=None, **values):
    metrics = Metrics(num_examples=1, values=values) if values else None
    go_on = Decision(action="continue", reason="")
    return Commit(
        run="r",
        round=round,
        kind=kind,
        parent="a" * 64,
        base_digest="b" * 64,
        weights_digest="c" * 64,
        measured_round=measured,
        metrics=metrics,
        decision=go_on,
        code_version="0",
    )


@pytest.mark.parametrize(
    ("metric", "higher"), [("accuracy", True), ("auc", True), ("loss", False), ("mean_absolute_error", False), ("val_mse", False)]
)
def test_losses_and_scores_are_told_apart(metric, higher):
    assert higher_is_better(metric) is higher


def test_a_run_goes_on_until_the_target():
    target = spec(target_value=0.9)
    assert decide(target, [0.5, 0.89]).action == "continue"
    assert decide(target, [0.5, 0.9]) == Decision(action="stop", reason="target reached: accuracy 0.9000, asked 0.9")


def test_the_target_of_a_loss_is_reached_from_above():
    target = spec(target_metric="loss", target_value=0.2)
    assert decide(target, [0.3]).action == "continue"
    assert decide(target, [0.2]).action == "stop"


def test_patience_counts_measurements_without_improvement():
    patient = spec(patience=2)
    assert decide(patient, [0.5, 0.6, 0.6]).action == "continue"
    assert decide(patient, [0.5, 0.6, 0.6, 0.55]).action == "stop"
    assert decide(patient, [0.5, 0.6, 0.6, 0.61]).action == "continue"


def test_without_target_or_patience_only_the_budget_ends_a_run():
    assert decide(spec(), [0.9, 0.1, 0.1, 0.1, 1.0]).action == "continue"


def test_the_best_model_is_that_of_the_measured_round():
    commits = [
        commit(0, "initial"),
        commit(1, measured=0, accuracy=0.99),
        commit(2, measured=1, accuracy=0.7),
        commit(3, measured=2, accuracy=0.9),
        commit(4, "closing", measured=3, accuracy=0.8),
    ]
    assert best_round(commits, "accuracy") == 2


def test_the_earliest_of_equals_is_the_best():
    commits = [commit(0, "initial"), commit(1, measured=1, loss=0.5), commit(2, measured=2, loss=0.5)]
    assert best_round(commits, "loss") == 1


def test_without_measurements_the_last_trained_model_is_published():
    assert best_round([commit(0, "initial"), commit(1), commit(2)], "accuracy") == 2
