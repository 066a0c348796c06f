"""What strategies share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.aggregation.strategy import is_optimized
from fedstream.record.sums import total


@given(st.lists(st.integers(-(2**40), 2**40), max_size=70))
def test_the_total_is_the_sum(numbers):
    assert total(np.array(numbers, np.float64)) == sum(numbers)


def test_the_total_adds_by_halves_and_leaves_the_values_alone():
    values = np.array([1e16, 1.0, -1e16, 1.0])
    assert total(values) == 2.0, "1e16 - 1e16 and 1 + 1 first; from left to right it would be 1"
    assert values.tolist() == [1e16, 1.0, -1e16, 1.0]


@pytest.mark.parametrize(
    ("name", "dtype", "optimized"),
    [
        ("dense/kernel", np.float32, True),
        ("norm/moving_mean", np.float32, False),
        ("norm/moving_variance#2", np.float32, False),
        ("moving_average/kernel", np.float32, True),
        ("steps", np.int64, False),
    ],
)
def test_what_an_optimizer_may_move(name, dtype, optimized):
    assert is_optimized(name, np.zeros(1, dtype)) == optimized
