"""Summaries of slices, and how far two of them are apart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedstream.record.summary import FEWEST, GROUPS, LARGEST, Summary, drift, same_summary
from fedstream.stream.summary import summary_of

NUMBERS = st.floats(-1e300, 1e300)
SUMMARIES = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        Summary,
        means=st.lists(NUMBERS, min_size=n, max_size=n),
        variances=st.lists(st.floats(0, 1e300), min_size=n, max_size=n),
    )
)


def test_means_and_variances_are_those_of_the_samples():
    x = np.random.default_rng(0).normal([0, 5], [1, 2], (500, 2)).astype(np.float32)
    summary = summary_of(x)
    np.testing.assert_allclose(summary.means, x.astype(np.float64).mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(summary.variances, x.astype(np.float64).var(axis=0), rtol=1e-8)


def test_many_features_are_summarised_in_groups():
    x = np.random.default_rng(0).integers(0, 255, (FEWEST, 28, 28)).astype(np.uint8)
    summary = summary_of(x)
    assert len(summary.means) == GROUPS
    assert math.isclose(summary.means[0], x.reshape(FEWEST, -1)[:, :13].mean(), rel_tol=1e-8)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((FEWEST - 1, 2)),
        np.full((FEWEST, 1), np.nan),
        np.full((FEWEST, 2), 1e308),
        np.full((FEWEST, 1), "text"),
        np.zeros((FEWEST, 0)),
    ],
)
def test_what_says_too_much_or_nothing_is_not_summarised(samples):
    assert summary_of(samples) is None


def test_distances_are_those_of_their_definitions():
    before = Summary(means=[0.0, 1.0], variances=[1.0, 4.0])
    after = Summary(means=[1.0, 1.0], variances=[1.0, 1.0])
    found = drift(({"0": 5, "1": 5}, before), ({"0": 9, "1": 1}, after))
    assert found.classes == pytest.approx(0.4)
    assert found.mean == pytest.approx(0.5), "one of two features moved by one standard deviation"
    assert found.variance == pytest.approx(math.log(4) / 2)


def test_a_constant_feature_that_changes_is_as_far_as_can_be():
    before, after = Summary(means=[0.0], variances=[0.0]), Summary(means=[1.0], variances=[0.0])
    assert drift(({}, before), ({}, after)).mean == LARGEST
    assert drift(({}, before), ({}, before)).mean == 0


@given(SUMMARIES, SUMMARIES)
def test_any_two_summaries_have_a_distance(one, other):
    found = drift(({}, one), ({}, other))
    same = len(one.means) == len(other.means)
    assert (found.mean is not None) == same
    assert not same or (0 <= found.mean <= LARGEST and 0 <= found.variance <= LARGEST)
    assert drift(({}, one), ({}, one)).mean == 0
    assert same_summary(one, one)


def test_a_summary_is_as_long_as_its_groups():
    with pytest.raises(ValidationError, match="it has 1 means, but 2 variances"):
        Summary(means=[0.0], variances=[1.0, 1.0])
    with pytest.raises(ValidationError):
        Summary(means=[0.0] * (GROUPS + 1), variances=[0.0] * (GROUPS + 1))


def test_another_processor_s_summary_is_the_same_within_the_tolerance():
    one = Summary(means=[1.0], variances=[4.0])
    assert same_summary(one, Summary(means=[1.0 + 1e-9], variances=[4.0]))
    assert not same_summary(one, Summary(means=[1.01], variances=[4.0]))
    assert not same_summary(one, None)
    assert same_summary(None, None)
