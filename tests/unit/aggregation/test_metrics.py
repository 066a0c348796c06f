import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.aggregation.metrics import combine
from fedstream.store.documents import Metrics


def metrics(n, confusion=None, **values):
    return Metrics(num_examples=n, values=values, confusion=confusion)


def test_metrics_are_weighted_by_examples():
    combined = combine([metrics(1, accuracy=1.0, loss=0.0), metrics(3, accuracy=0.0, loss=4.0)])
    assert combined.num_examples == 4
    assert combined.values == {"accuracy": 0.25, "loss": 3.0}


def test_only_metrics_that_all_report_are_combined():
    assert set(combine([metrics(1, loss=1.0, auc=0.5), metrics(1, loss=2.0)]).values) == {"loss"}


def test_confusion_matrices_are_added():
    combined = combine([metrics(3, [[1, 1], [0, 1]], loss=0.0), metrics(1, [[0, 0], [1, 0]], loss=0.0)])
    assert combined.confusion == [[1, 1], [1, 1]]
    assert combine([metrics(3, [[3]], loss=0.0), metrics(1, None, loss=0.0)]).confusion is None


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 100)), min_size=1, max_size=10), st.randoms())
def test_the_order_of_clients_does_not_matter(drawn, random):
    parts = [metrics(n, loss=value) for n, value in drawn]
    shuffled = random.sample(parts, len(parts))
    assert combine(parts) == combine(shuffled)
    assert combine(parts).values["loss"] == pytest.approx(sum(n * v for n, v in drawn) / sum(n for n, _ in drawn))
