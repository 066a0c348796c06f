"""The weighted mean, against an exact reference in fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.aggregation.fedavg import federated_average
from fedstream.errors import UpdateError

FLOATS = st.floats(-1e6, 1e6, width=32)
UPDATES = st.lists(st.tuples(st.integers(1, 10_000), st.lists(FLOATS, min_size=3, max_size=3)), min_size=1, max_size=8)


def exact_mean(counts, values):
    return sum(Fraction(count) * Fraction(float(value)) for count, value in zip(counts, values, strict=True)) / sum(counts)


def as_updates(drawn):
    return [(count, {"w": np.array(values, dtype=np.float32)}) for count, values in drawn]


@given(UPDATES)
def test_each_element_is_the_exact_mean_rounded_once(drawn):
    updates = as_updates(drawn)
    mean = federated_average(updates)["w"]
    assert mean.dtype == np.float32
    for index in range(3):
        exact = exact_mean([count for count, _ in updates], [weights["w"][index] for _, weights in updates])
        spacing = Fraction(float(np.spacing(np.abs(mean[index])))) if mean[index] else Fraction(2) ** -149
        largest = max(abs(Fraction(float(weights["w"][index]))) for _, weights in updates)
        # half a unit of the result, and what the float64 sums may add where values cancel
        assert abs(Fraction(float(mean[index])) - exact) <= spacing / 2 + largest * Fraction(2) ** -48


def test_the_examples_weigh():
    mean = federated_average([(1, {"w": np.zeros(2, np.float32)}), (3, {"w": np.full(2, 4, np.float32)})])
    assert mean["w"].tolist() == [3.0, 3.0]


def test_one_client_gets_its_own_weights_back():
    weights = {"w": np.array([0.1, -7.25, 3e-30], np.float32), "b": np.array(2.5, np.float32)}
    mean = federated_average([(17, weights)])
    assert all(np.array_equal(mean[name], weights[name]) for name in weights)


def test_a_lazy_iterable_is_read_once_and_one_at_a_time():
    alive = []

    def lazily():
        for number in range(5):
            alive.append(number)
            yield 1, {"w": np.full(4, number, np.float32)}

    assert federated_average(lazily())["w"].tolist() == [2.0] * 4
    assert alive == [0, 1, 2, 3, 4]


def test_integer_variables_are_passed_on():
    mean = federated_average([(1, {"n": np.array([7], np.int64)}), (2, {"n": np.array([7], np.int64)})])
    assert mean["n"].dtype == np.int64
    assert mean["n"].tolist() == [7]


def test_the_inputs_are_not_changed():
    update = np.ones(3, np.float32)
    federated_average([(2, {"w": update}), (5, {"w": update})])
    assert update.tolist() == [1.0, 1.0, 1.0]


def test_nothing_to_average():
    with pytest.raises(UpdateError, match="no update to average"):
        federated_average([])
