"""Every kind of bad update gets its verdict."""

import numpy as np
import pytest

from fedstream.aggregation.validation import why_invalid

BASE = {"w": np.zeros((4, 3), np.float32), "n": np.array([1, 2], np.int64)}


def update(**changes):
    return {**{name: array.copy() for name, array in BASE.items()}, **changes}


def without(name):
    return {other: array for other, array in BASE.items() if other != name}


def with_value(value):
    array = np.zeros((4, 3), np.float32)
    array[2, 1] = value
    return update(w=array)


def test_a_good_update_has_no_reason_against_it():
    assert why_invalid(BASE, update(w=np.ones((4, 3), np.float32)), 10, 10) == ""


@pytest.mark.parametrize(
    ("bad", "num_examples", "reason"),
    [
        (with_value(np.nan), 5, "'w' has 1 values that are not finite (first: nan)"),
        (with_value(np.inf), 5, "'w' has 1 values that are not finite (first: inf)"),
        (update(w=np.zeros((3,), np.float32)), 5, "'w' has shape (3,), expected (4, 3)"),
        (update(w=np.zeros((4, 3), np.float64)), 5, "'w' has dtype float64, expected float32"),
        (update(n=np.array([1, 3], np.int64)), 5, "integer variable 'n' differs"),
        (without("w"), 5, "'w' is missing"),
        (update(extra=np.zeros(1, np.float32)), 5, "'extra' is not in the global model"),
        (update(), 0, "num_examples is 0, expected at least 1"),
        (update(), -5, "num_examples is -5"),
        (update(), 11, "num_examples is 11, but its slice has 10 records"),
        (update(), 10**18, "its slice has 10 records"),
    ],
)
def test_a_bad_update_is_named(bad, num_examples, reason):
    assert reason in why_invalid(BASE, bad, num_examples, 10)
