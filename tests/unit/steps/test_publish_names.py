"""Kubeflow's confusion matrix has the classes' names."""

import pytest

from fedstream.record.commit import Commit, Decision
from fedstream.record.documents import Metrics
from fedstream.steps.publish import _show_confusion


class Shown:
    """What KFP's artifact is told."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        self.categories, self.matrix = categories, matrix


@pytest.mark.parametrize(
    ("classes", "expected"), [(["ill", "well"], ["ill", "well"]), (["ill"], ["ill", "1"]), ([], ["0", "1"])]
)
def test_the_classes_names_stand_at_the_matrix_where_there_are_any(classes: list[str], expected: list[str]) -> None:
    measured = Metrics(num_examples=3, values={"loss": 1.0}, confusion=[[1, 0], [2, 0]])
    digest = "0" * 64
    commit = Commit(
        run="r",
        round=1,
        kind="training",
        parent=digest,
        base_digest=digest,
        weights_digest=digest,
        metrics=measured,
        measured_round=1,
        decision=Decision(action="continue", reason=""),
        code_version="1",
    )
    shown = Shown()
    _show_confusion([commit], classes, shown)
    assert (shown.categories, shown.matrix) == (expected, [[1, 0], [2, 0]])
