"""The median, against sorting fractions, and against cases worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import updates_of

from fedstream.aggregation import coordinates
from fedstream.aggregation.fedmedian import FedMedian

BASE = {"w": np.zeros(3, np.float32)}


def median(columns, dtype=np.float32):
    updates = updates_of(*[(1, {"w": np.array(values, dtype)}) for values in columns])
    return FedMedian().aggregate({"w": np.zeros(len(columns[0]), dtype)}, updates, {}).weights["w"]


def reference(column):
    ordered = sorted(Fraction(float(value)) for value in column)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@settings(deadline=None)
@given(st.data())
def test_it_is_the_middle_in_any_order_of_clients(dtype, data):
    width = 8 * np.dtype(dtype).itemsize
    column = st.lists(st.floats(-1e4, 1e4, width=width), min_size=2, max_size=2)
    columns = data.draw(st.lists(column, min_size=1, max_size=12))
    found, info = median(columns, dtype), np.finfo(dtype)
    for value, column in zip(found, zip(*np.array(columns, dtype), strict=True), strict=True):
        exact = reference(column)
        half = abs(exact) * Fraction(float(info.eps)) / 2 + Fraction(float(info.smallest_subnormal)) / 2
        assert abs(Fraction(float(value)) - exact) <= half
    assert median(data.draw(st.permutations(columns)), dtype).tobytes() == found.tobytes()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3], 3), ([1, 2], 1.5), ([5, 1, 3], 3), ([1, 2, 4, 1e30], 3), ([-1e30, 1, 1e30], 1), ([3e38, 3e38], 3e38)],
)
def test_cases_worked_out_by_hand(values, expected):
    assert median([[value] for value in values]).tolist() == [np.float32(expected)]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(-6, 6))
def test_equal_updates_stay_and_a_power_of_two_scales(size, clients, power):
    values = np.random.default_rng(size).normal(size=(clients, size)).astype(np.float32)
    assert median([values[0]] * clients).tobytes() == (values[0] + 0.0).tobytes()
    assert np.array_equal(median(values * 2.0**power), median(values) * np.float32(2.0**power))


def test_blocks_do_not_show(monkeypatch):
    values = np.random.default_rng(1).normal(size=(5, 101)).astype(np.float32)
    whole = median(values)
    monkeypatch.setattr(coordinates, "SORTED", 35)
    assert median(values).tobytes() == whole.tobytes() == np.median(values, axis=0).tobytes()


def test_integers_and_shapes_are_kept():
    base = {"w": np.zeros((2, 2), np.float32, order="F"), "n": np.array([4])}
    updates = updates_of(*[(1, {"w": np.full((2, 2), value, np.float32), "n": np.array([4])}) for value in (1, 2, 9)])
    weights = FedMedian().aggregate(base, updates, {}).weights
    assert weights["w"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert weights["n"].tolist() == [4]
