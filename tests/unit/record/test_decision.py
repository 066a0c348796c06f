import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import entry_of

from fedstream.errors import UsageError
from fedstream.record.commit import Commit, Decision
from fedstream.record.decision import (
    best_round,
    decide,
    higher_is_better,
    last_accepted,
    lineage,
    measurements,
    model_round,
    rolled_back,
    round_to_publish,
    trained_rounds,
)
from fedstream.record.documents import Metrics
from fedstream.record.spec import RunSpec


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
    ("metric", "higher"),
    [("accuracy", True), ("auc", True), ("loss", False), ("mean_absolute_error", False), ("val_mse", False)],
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


def history(*metrics):
    """A run of training rounds, each of whose models the next round measures."""
    return [
        commit(0, "initial"),
        *(commit(number + 1, measured=number, accuracy=value) for number, value in enumerate(metrics)),
    ]


def back(commits, to):
    return [*commits, rolled_back(commits, "d" * 64, to)]


def test_rounds_behind_a_rollback_no_longer_count():
    commits = [*back(history(0.1, 0.5, 0.9), 1), commit(5, measured=1, accuracy=0.5)]
    assert [c.round for c in lineage(commits)] == [0, 1, 4, 5]
    assert trained_rounds(commits) == 2
    assert measurements(commits, "accuracy") == [(0, 0.1), (1, 0.5)], "round 2's model was measured, but does not count"
    assert best_round(commits, "accuracy") == 1
    assert model_round(commits) == 5
    assert model_round(commits[:-1]) == 1


def test_a_rollback_of_a_rollback():
    commits = back(back(history(0.1, 0.5, 0.9), 2), 1)
    assert [c.round for c in lineage(commits)] == [0, 1, 5]
    assert model_round(commits) == 1
    assert model_round(back(commits, 0)) == 0
    assert best_round(back(commits, 0), "accuracy") == 0


@pytest.mark.parametrize("to", [3, 4, 9, -1])
def test_a_round_that_one_cannot_go_back_to(to):
    with pytest.raises(UsageError, match=rf"run 'r' cannot go back to round {to}; it can go back to 0, 1, 2"):
        rolled_back(history(0.1, 0.5, 0.9), "d" * 64, to)


def test_a_round_that_was_cut_off_is_gone():
    with pytest.raises(UsageError, match=r"it can go back to 0, 1$"):
        rolled_back(back(history(0.1, 0.5, 0.9), 1), "d" * 64, 2)


def with_entry(made, accepted):
    entry = entry_of("a", accepted, num_examples=1)
    return made.model_copy(update={"clients": [entry]})


@given(st.lists(st.tuples(st.sampled_from(["training", "closing", "rollback"]), st.booleans(), st.integers(0, 99))))
def test_the_last_accepted_update_is_that_of_the_lineage(rounds):
    commits = [commit(0, "initial")]
    for number, (kind, accepted, back) in enumerate(rounds, 1):
        counted = [earlier.round for earlier in lineage(commits)]
        made = commit(number, "training" if kind == "rollback" else kind)
        if kind == "rollback":
            made = made.model_copy(update={"kind": kind, "restores": counted[back % len(counted)]})
        commits.append(made if kind == "rollback" else with_entry(made, accepted))
    expected = [
        counted.round
        for counted in lineage(commits)
        if counted.kind == "training" and any(entry.accepted for entry in counted.clients)
    ]
    found = last_accepted(lambda number: commits[number], len(commits) - 1, "a")
    assert (found[0] if found else None) == (expected[-1] if expected else None)
    assert last_accepted(lambda number: commits[number], len(commits) - 1, "b") is None


LIVE = {"feed": {"kind": "new"}, "indefinite": True}


def published_after_each(values, **fields):
    """Return the round that is to be published after each measurement of the rounds 1, 2, ..."""
    chain, found = [commit(0, "initial")], []
    for number, value in enumerate(values, 1):
        chain.append(commit(number, measured=number, **{fields.get("target_metric", "accuracy"): value}))
        found.append(round_to_publish(chain, spec(**LIVE | fields)))
    return found


def test_an_indefinite_run_publishes_where_its_metric_has_moved():
    values = [0.50, 0.54, 0.55, 0.50, 0.58, 0.60]
    assert published_after_each(values, evaluation_topic="t") == [1, 1, 3, 3, 3, 6]


def test_the_direction_of_a_loss_is_down_and_can_be_given():
    values = [0.50, 0.54, 0.45, 0.41]
    assert published_after_each(values, target_metric="loss", evaluation_topic="t") == [1, 1, 3, 3]
    assert published_after_each(values, change="down", evaluation_topic="t") == [1, 1, 3, 3]
    assert published_after_each(values, improvement=0.04, change="up", evaluation_topic="t") == [1, 2, 2, 2]


def test_new_records_in_each_round_are_compared_with_the_worst_since_the_version():
    assert published_after_each([0.9, 0.6, 0.64, 0.65]) == [1, 1, 1, 4], "the stream has drifted"
    assert published_after_each([0.9, 0.6, 0.64, 0.65], evaluation_topic="t") == [1, 1, 1, 1]


def test_what_a_new_model_gains_on_new_records_is_a_move():
    """Each submission ends with a closing round, and the next one measures the same model on new records."""
    chain = [commit(0, "initial"), commit(1), commit(2, "closing", 1, accuracy=0.8)]
    assert round_to_publish(chain, spec(**LIVE)) == 1
    chain += [commit(3, measured=1, accuracy=0.6), commit(4, "closing", 3, accuracy=0.78)]
    assert round_to_publish(chain, spec(**LIVE)) == 3, "it is worth 0.18 more than version 1 on these records"
    chain += [commit(5, measured=3, accuracy=0.77), commit(6, "closing", 5, accuracy=0.8)]
    assert round_to_publish(chain, spec(**LIVE)) == 3, "and this one 0.03"


def test_a_run_that_ends_publishes_its_best_model():
    chain = [commit(0, "initial"), commit(1, measured=1, accuracy=0.9), commit(2, measured=2, accuracy=0.8)]
    assert round_to_publish(chain, spec()) == 1
    assert round_to_publish([commit(0, "initial"), commit(1), commit(2)], spec(**LIVE)) == 2, "nothing is measured"
