"""Every kind of bad update is told apart, and the distance of a good one is measured."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedstream.aggregation.validation import examine
from fedstream.record.extras import ArraySpec, join
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


EXPECTED = {"c/w": ArraySpec((2,), "float32")}


@pytest.mark.parametrize(
    ("extras", "problem"),
    [
        ({"c/w": np.zeros(2, np.float32)}, ""),
        ({}, "extra array 'c/w' is missing (1 in all)"),
        (
            {"c/w": np.zeros(2, np.float32), "d": np.zeros(1)},
            "extra array 'd' is not in what the strategy asks for (1 in all)",
        ),
        ({"c/w": np.zeros(3, np.float32)}, "extra array 'c/w' has shape (3,), expected (2,)"),
        ({"c/w": np.zeros(2)}, "extra array 'c/w' has dtype float64, expected float32"),
        ({"c/w": np.array([0, np.nan], np.float32)}, "extra array 'c/w' has 1 values that are not finite (first: nan)"),
    ],
)
def test_extra_arrays_must_be_those_that_the_strategy_asks_for(extras, problem):
    assert examine(BASE, join(update(), extras), EXPECTED).problem == problem


def test_extra_arrays_that_nobody_asks_for_are_refused_and_do_not_count_in_the_norm():
    assert "extra array 'c/w' is not in" in examine(BASE, join(update(), {"c/w": np.ones(2, np.float32)})).problem
    assert examine(BASE, join(update(), {"c/w": np.full(2, 1e9, np.float32)}), EXPECTED).norm == 0


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


@given(
    arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
)
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
