"""The trimmed mean, against sorting fractions, and against cases worked out by hand."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import updates_of

from fedstream.aggregation import coordinates
from fedstream.aggregation.fedtrimmedavg import FedTrimmedAvg


def trimmed_mean(columns, beta, examples=None):
    """Return the trimmed mean of each client's values, as the strategy makes it."""
    counts = examples or [1] * len(columns)
    updates = updates_of(
        *[(count, {"w": np.array(values, np.float32)}) for count, values in zip(counts, columns, strict=True)]
    )
    return FedTrimmedAvg(beta=beta).aggregate({"w": np.zeros(len(columns[0]), np.float32)}, updates, {})


def reference(columns, beta):
    """Sort each coordinate, drop floor(beta * m) at both ends, and take the mean of the rest, in fractions."""
    cut = int(Fraction(str(beta)) * len(columns))
    means = []
    for column in zip(*columns, strict=True):
        kept = sorted(Fraction(float(np.float32(value))) for value in column)[cut : len(columns) - cut]
        means.append(sum(kept) / len(kept))
    return means


VALUES = st.floats(-1e6, 1e6, width=32)


@st.composite
def clients(draw):
    size = draw(st.integers(1, 5))
    return draw(st.lists(st.lists(VALUES, min_size=size, max_size=size), min_size=1, max_size=12))


@settings(deadline=None)
@given(clients(), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.49]), st.randoms(use_true_random=False))
def test_it_is_the_mean_of_what_is_left_in_any_order_of_clients(columns, beta, random):
    found = trimmed_mean(columns, beta).weights["w"]
    for value, mean in zip(found, reference(columns, beta), strict=True):
        assert abs(Fraction(float(value)) - mean) <= abs(mean) / 2**24 + Fraction(1, 2**149), (
            "half a unit in the last place"
        )
    lowest, highest = np.min(np.array(columns, np.float32), 0), np.max(np.array(columns, np.float32), 0)
    assert np.all((lowest <= found) & (found <= highest))
    shuffled = random.sample(columns, len(columns))
    assert trimmed_mean(shuffled, beta).weights["w"].tobytes() == found.tobytes()


@pytest.mark.parametrize(
    ("values", "beta", "mean"),
    [
        ([1, 2, 3, 4, 100], 0.2, 3.0),
        ([1, 2, 3, 4, 100], 0.0, 22.0),
        ([-1e30, 5, 6, 7, 1e30], 0.2, 6.0),
        ([1, 2, 3, 4], 0.49, 2.5),
        ([7], 0.4, 7.0),
    ],
)
def test_cases_worked_out_by_hand(values, beta, mean):
    assert trimmed_mean([[value] for value in values], beta).weights["w"].tolist() == [mean]


def test_examples_do_not_weigh():
    assert trimmed_mean([[0], [1], [5]], 0.0, examples=[1, 1000, 1]).weights["w"].tolist() == [2.0]


def test_a_fraction_that_floats_round_down_is_taken_as_written():
    assert trimmed_mean([[number] for number in range(100)], 0.29).figures == {
        "trimmed_updates": 58,
        "trimmed_share": 0.58,
    }


@pytest.mark.parametrize("order", [[-0.0, 0.0, 0.0], [0.0, -0.0, 0.0], [0.0, 0.0, -0.0]])
def test_the_sign_of_zero_does_not_depend_on_the_order(order):
    assert not np.signbit(trimmed_mean([[value] for value in order], 0.34).weights["w"]).any()


def test_integers_and_shapes_are_kept():
    base = {"w": np.zeros((2, 2), np.float64), "n": np.array([4])}
    updates = updates_of(*[(1, {"w": np.full((2, 2), value), "n": np.array([4])}) for value in (1.0, 2.0, 9.0)])
    weights = FedTrimmedAvg(beta=0.34).aggregate(base, updates, {}).weights
    assert weights["w"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert weights["n"].tolist() == [4]


@pytest.mark.parametrize("clients", [10, 100])
def test_the_memory_is_that_of_blocks(clients):
    size = 400_000
    updates = updates_of(*[(1, {"w": np.full(size, number, np.float32)}) for number in range(clients)])
    base = {"w": np.zeros(size, np.float32)}
    tracemalloc.start()
    try:
        weights = FedTrimmedAvg(beta=0.1).aggregate(base, updates, {}).weights
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.all(weights["w"] == (clients - 1) / 2)
    assert peak - weights["w"].nbytes < 32 * coordinates.SORTED * 4, (
        "some blocks of float32 in two threads, whatever the number of clients"
    )
