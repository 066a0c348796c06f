import random
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fedstream.aggregation.metrics import combine
from fedstream.record.documents import Metrics


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


def test_what_overflows_as_a_sum_has_a_mean():
    assert combine([metrics(9, loss=1.5e308), metrics(3, loss=1e308)]).values == {"loss": 1.375e308}


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(-1e100, 1e100)), min_size=1, max_size=10), st.randoms())
@example([(1, 1e20), (1, 0.5), (1, -1e20)], random.Random(1))
@example([(3, 0.1), (7, 0.7)], random.Random(1))
def test_means_are_exact_and_the_order_of_clients_does_not_matter(drawn, shuffling):
    parts = [metrics(n, loss=value) for n, value in drawn]
    shuffled = shuffling.sample(parts, len(parts))
    assert combine(parts) == combine(shuffled)
    assert combine(parts).values["loss"] == float(sum(n * Fraction(v) for n, v in drawn) / sum(n for n, _ in drawn))
