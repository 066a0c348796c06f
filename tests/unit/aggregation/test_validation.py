"""Every kind of bad update is told apart, and the distance of a good one is measured."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedstream.aggregation.validation import examine
from fedstream.record.judge import _why_bad_count

BASE = {"w": np.zeros((4, 3), np.float32), "n": np.array([1, 2], np.int64)}


def update(**changes):
    return {**{name: array.copy() for name, array in BASE.items()}, **changes}


def without(name):
    return {other: array for other, array in BASE.items() if other != name}


def with_value(value):
    array = np.zeros((4, 3), np.float32)
    array[2, 1] = value
    return update(w=array)


def test_a_good_update_has_no_problem():
    found = examine(BASE, update(w=np.full((4, 3), 2, np.float32)))
    assert (found.problem, found.norm) == ("", pytest.approx(math.sqrt(12 * 4)))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (with_value(np.nan), "'w' has 1 values that are not finite (first: nan)"),
        (with_value(np.inf), "'w' has 1 values that are not finite (first: inf)"),
        (update(w=np.zeros((3,), np.float32)), "'w' has shape (3,), expected (4, 3)"),
        (update(w=np.zeros((4, 3), np.float64)), "'w' has dtype float64, expected float32"),
        (update(n=np.array([1, 3], np.int64)), "integer variable 'n' differs"),
        (without("w"), "'w' is missing"),
        (update(extra=np.zeros(1, np.float32)), "'extra' is not in the global model"),
    ],
)
def test_a_bad_update_is_named(bad, problem):
    assert problem in examine(BASE, bad).problem


@pytest.mark.parametrize(
    ("num_examples", "problem"),
    [
        (10, ""),
        (0, "num_examples is 0, expected at least 1"),
        (-5, "num_examples is -5"),
        (11, "num_examples is 11, but its slice has 10 records"),
        (10**18, "its slice has 10 records"),
    ],
)
def test_a_count_is_at_most_that_of_the_slice(num_examples, problem):
    assert problem in _why_bad_count(num_examples, 10)
    assert bool(problem) == bool(_why_bad_count(num_examples, 10))


@given(arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_the_norm_is_that_of_exact_arithmetic(values):
    found = examine({"w": np.zeros_like(values)}, {"w": values}).norm
    squares = sum(Fraction(float(value)) ** 2 for value in values)
    if not squares:
        assert found == 0
    else:
        assert abs(Fraction(found) ** 2 / squares - 1) < Fraction(1, 10**12)


def test_the_norm_of_huge_float64_weights_is_finite_or_infinite_but_a_number():
    assert examine({"w": np.zeros(4)}, {"w": np.full(4, 8e307)}).norm == pytest.approx(1.6e308)
    assert examine({"w": np.full(2, -1.7e308)}, {"w": np.full(2, 1.7e308)}).norm == math.inf
