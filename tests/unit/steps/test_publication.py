"""Which models become versions."""

import pytest
from support.versions import version_manifest

from fedstream.catalog.versions import Version
from fedstream.record.commit import Commit, Decision
from fedstream.record.documents import Metrics
from fedstream.record.spec import RunSpec
from fedstream.steps.publication import declined, unfit

BEST = Commit(
    run="r", round=3, kind="training", parent="0" * 64, base_digest="0" * 64, weights_digest="0" * 64,
    decision=Decision(action="stop", reason=""), code_version="0",
)  # fmt: skip


def measured(**values):
    return Metrics(num_examples=10, values=values)


def newest(**metrics):
    return Version("m", 7, version_manifest(version=7, metrics=metrics))


def spec(publish, metric="accuracy"):
    return RunSpec(run="r", model="m", publish=publish, target_metric=metric)


def test_a_model_that_learned_is_fit():
    assert unfit(BEST, measured(accuracy=0.9, loss=0.1), "accuracy") == ""
    assert unfit(BEST, measured(mse=2.5e10, loss=2.5e10), "mse") == ""


def test_a_model_that_nobody_measured_is_not():
    for nothing in (None, measured(loss=0.1)):
        reason = unfit(BEST, nothing, "accuracy")
        assert reason.startswith("its quality is not known: round 3 was not measured on any record")
        assert "validation_rate" in reason
        assert "evaluation_topic" in reason


def test_a_model_with_absurd_metrics_is_not():
    reason = unfit(BEST, measured(accuracy=0.1, loss=1e18), "accuracy")
    assert (
        reason == "round 3, the best one, has loss 1e+18: training diverged; use a smaller learning_rate in a new run"
    )
    assert unfit(BEST, measured(mse=-1e13, loss=1.0), "mse")


def test_the_untrained_model_is_not():
    assert unfit(BEST.model_copy(update={"kind": "initial", "round": 0}), measured(accuracy=0.9, loss=0.1), "accuracy")


@pytest.mark.parametrize(
    ("publish", "metric", "new", "old", "declines"),
    [
        ("always", "accuracy", 0.1, 0.9, False),
        ("never", "accuracy", 0.9, 0.1, True),
        ("if-better", "accuracy", 0.91, 0.9, False),
        ("if-better", "accuracy", 0.9, 0.9, True),
        ("if-better", "accuracy", 0.89, 0.9, True),
        ("if-better", "loss", 0.1, 0.2, False),
        ("if-better", "loss", 0.2, 0.1, True),
    ],
)
def test_the_policy_decides(publish, metric, new, old, declines):
    assert bool(declined(spec(publish, metric), measured(**{metric: new}), newest(**{metric: old}))) is declines


def test_if_better_says_what_it_compared():
    reason = declined(spec("if-better"), measured(accuracy=0.8), newest(accuracy=0.9))
    assert reason == "publish is `if-better`, and accuracy 0.8000 is not better than 0.9000 of version 7"
    assert declined(spec("if-better"), measured(accuracy=0.8), newest(loss=0.9)).endswith(
        "version 7 has no accuracy to compare with"
    )


def test_the_first_version_has_nothing_to_be_better_than():
    assert declined(spec("if-better"), measured(accuracy=0.1), None) == ""
    assert declined(spec("never"), measured(accuracy=0.1), None)
