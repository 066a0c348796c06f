"""Weights other than numbers of examples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import updates_of

from fedstream.aggregation.weighting import LARGEST, geometric_sum, power, reported, whole_weights
from fedstream.errors import UpdateError

W = {"w": np.zeros(1, np.float32)}


@given(st.floats(1e-12, 1), st.floats(0, 100))
def test_a_power_is_that_of_the_platform_up_to_its_rounding(base, exponent):
    assert power(base, exponent) == pytest.approx(math.pow(base, exponent), rel=1e-12, abs=1e-300)


def test_powers_worked_out_by_hand():
    assert (power(0.5, 3), power(0.25, 0.5), power(0.3, 0), power(1.0, 7)) == (0.125, 0.5, 1.0, 1.0)


@given(st.floats(0, 1), st.integers(0, 300))
def test_a_geometric_sum_is_the_sum_of_its_terms(ratio, terms):
    assert geometric_sum(ratio, terms) == pytest.approx(math.fsum(ratio**k for k in range(terms)), rel=1e-12)


def test_a_geometric_sum_of_very_many_terms():
    assert geometric_sum(1.0, 10**10) == 10**10
    assert geometric_sum(0.5, 10**10) == 2


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20).filter(any))
def test_whole_weights_have_the_proportions(weights):
    whole = whole_weights(weights)
    assert all(1 <= number <= LARGEST for number in whole)
    for number, weight in zip(whole, weights, strict=True):
        assert number / LARGEST == pytest.approx(weight / max(weights), abs=1e-12)


def test_what_a_minority_reports_changes_nothing():
    rates = [0.1, 0.1, 1e9, 0.1, -1.0, 0.0, 1e-9]
    assert reported(updates_of(*[(1, W, {"learning_rate": np.array(rate)}) for rate in rates]), "learning_rate") == 0.1


def test_a_rate_that_nobody_reports_is_an_error():
    with pytest.raises(UpdateError, match="no client reports a learning rate above 0; the round cannot be aggregated"):
        reported(updates_of((1, W, {"learning_rate": np.array(0.0)})), "learning_rate")
