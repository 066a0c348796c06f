"""Numbers that nobody can have measured are refused, and those on an evaluation topic can be measured again."""

import pytest
from support.recorded import RUN

from fedstream import steps
from fedstream.audit.streams import why_different
from fedstream.record.documents import Metrics
from fedstream.record.measurement import why_implausible
from fedstream.steps.context import Context
from fedstream.stream.broker import EnvironmentBrokers


def metrics(records=4, confusion=None, **values):
    return Metrics(num_examples=records, values={"loss": 1.0, "accuracy": 0.5} | values, confusion=confusion)


IMPOSSIBLE = {
    "accuracy above 1": (metrics(accuracy=3.5), "its accuracy is 3.5, which no model can score"),
    "negative accuracy": (metrics(accuracy=-0.1), "its accuracy is -0.1"),
    "recall above 1": (metrics(recall_2=1.5), "its recall_2 is 1.5"),
    "negative error": (metrics(mean_squared_error=-1.0), "its mean_squared_error is -1"),
    "R2 above 1": (metrics(r2_score=2.0), "its r2_score is 2"),
    "a loss beyond all": (metrics(loss=1e308), r"its loss is 1e+308"),
    "more records than there are": (metrics(records=5), "it says it measured on 5 records, but its slice has 4"),
    "negative confusion": (metrics(confusion=[[5, -1], [0, 0]]), "its confusion matrix has negative counts"),
    "confusion of other records": (
        metrics(confusion=[[5, 1], [0, 0]]),
        "its confusion matrix counts 6 records, but it says it measured on 4",
    ),
    "ragged confusion": (metrics(confusion=[[4], [0, 0]]), "its confusion matrix is not square"),
}


@pytest.mark.parametrize(("measured", "reason"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_measured(measured, reason):
    assert reason in why_implausible(measured, 4, "accuracy")


@pytest.mark.parametrize(
    "measured",
    [
        metrics(),
        metrics(loss=-3.0),
        metrics(auc_1=1.0000001),
        metrics(r2_score=-7.0),
        metrics(confusion=[[3, 1], [0, 0]]),
    ],
)
def test_what_can_be_measured(measured):
    assert why_implausible(measured, 4, "accuracy") == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda commit: commit["metrics"]["values"].update(accuracy=1.2407),
            "its accuracy is 1.2407, which no model can score",
        ),
        (
            lambda commit: commit["metrics"]["confusion"][0].__setitem__(0, -1),
            "its confusion matrix has negative counts",
        ),
        (
            lambda commit: commit["metrics"].update(num_examples=10**6),
            "num_examples of its metrics is 1000000, expected 40",
        ),
        (lambda commit: commit.update(evaluation_digest="0" * 64), "evaluation_digest is 000"),
        (lambda commit: commit.update(evaluation_digest=None), "was not evaluated on the evaluation topic"),
        (lambda commit: commit.update(metrics=None, measured_round=None), "was not evaluated on the evaluation topic"),
    ],
)
def test_a_commit_of_an_evaluated_run(evaluated, forger_of, change, reason):
    forger = forger_of(evaluated, 2)
    forger.store.edit(forger.key("commit.json"), change)
    assert reason in forger.found()["commit.json"]


def test_a_client_that_scores_too_well_does_not_count(forger):
    forger.manifest("b", lambda manifest: manifest["incoming"]["values"].update(accuracy=3.5))
    assert "accepts client 'b', whose update cannot count: its accuracy is 3.5" in forger.found()["verdicts.json"]


def test_a_manifest_that_its_client_changes_after_it_was_judged(forger, forge):
    """No policy of a store tells a first write from a second one,
    so a client's own key can replace what the client has written.
    """
    judged = forger.read("commit.json")["clients"][0]["incoming"]
    forge(forger.store, f"runs/{RUN}/spec.json", lambda record: record["spec"].update(target_value=0.99))
    forger.store.remove_below(forger.key("commit"))
    forger.store.edit(
        forger.key("updates/b.json"), lambda manifest: manifest["incoming"]["values"].update(accuracy=300.0)
    )
    assert steps.evaluate.within(Context(forger.store, EnvironmentBrokers()), RUN, 1) == "continue", (
        "the target is not reached"
    )
    entries = forger.read("commit.json")["clients"]
    assert (entries[0]["incoming"], entries[1]["accepted"], entries[1]["incoming"]) == (judged, True, None)
    assert "digest is" in forger.found()["updates/b.json"]


HUGE = {
    "a count beyond any float": lambda commit: commit["clients"][0].update(num_examples=10**400),
    "counts of nothing": lambda commit: [entry.update(num_examples=0) for entry in commit["clients"]] and None,
}


@pytest.mark.parametrize("change", HUGE.values(), ids=HUGE)
def test_counts_that_no_mean_can_be_made_of(forger, change):
    forger.store.edit(forger.key("commit.json"), change)
    assert "commit.json" in forger.found()


def test_confusion_matrices_that_cannot_be_added(forger):
    for client in ("a", "b", "c"):
        forger.manifest(client, lambda manifest: manifest["incoming"].update(confusion=[[5, 0], [0]]))
        forger.manifest("c", lambda manifest: manifest["incoming"].update(confusion=[[5, 0], []]))
    assert "whose update cannot count: its confusion matrix is not square" in forger.found()["verdicts.json"]


def test_measured_again_on_another_processor_is_the_same_within_a_thousandth():
    assert why_different(metrics(), metrics(accuracy=0.5004, loss=1.0003)) == ""
    assert "its accuracy is 0.5, but measured again it is 0.51" in why_different(metrics(), metrics(accuracy=0.51))
    assert "it has metrics accuracy, loss" in why_different(metrics(), metrics(auc=1.0))
    assert "confusion matrix" in why_different(
        metrics(4000, [[3000, 1000], [0, 0]]), metrics(4000, [[2000, 2000], [0, 0]])
    )
    assert why_different(metrics(4, [[3, 1], [0, 0]]), metrics(4, [[2, 2], [0, 0]])) == "", (
        "one record of few may change sides"
    )
