"""Bulyan, against the obvious one in fractions, and against cases worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import krum_reference, updates_of

from fedstream.aggregation.bulyan import Bulyan, closest_to_median
from fedstream.aggregation.updates import Updates


def bulyan(rows, byzantine):
    updates = updates_of(*[(1, {"w": np.array(row, np.float32)}) for row in rows])
    return Bulyan(byzantine=byzantine).aggregate({"w": np.zeros(len(rows[0]), np.float32)}, updates, {})


def reference(rows, byzantine):
    """Return the selected clients and the mean of the closest values of each element."""
    left, selected = list(range(len(rows))), []
    while len(selected) < len(rows) - 2 * byzantine:
        with_a_neighbour = min(byzantine, len(left) - 3)
        selected += krum_reference(rows, with_a_neighbour, 1, left)
        left.remove(selected[-1])
    means = []
    for column in zip(*[rows[one] for one in sorted(selected)], strict=True):
        ordered = sorted(Fraction(float(value)) for value in column)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        closest = sorted(ordered, key=lambda value: (abs(value - middle), value))[: len(ordered) - 2 * byzantine]
        means.append(float(np.float32(float(sum(closest) / len(closest)))))
    return sorted(selected), means


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 1).flatmap(
        lambda byzantine: st.tuples(
            st.just(byzantine),
            st.lists(
                st.lists(st.integers(-4, 4), min_size=3, max_size=3),
                min_size=4 * byzantine + 3,
                max_size=4 * byzantine + 6,
            ),
        )
    )
)
def test_it_selects_and_averages_as_in_fractions(drawn):
    byzantine, rows = drawn
    selected, means = reference(rows, byzantine)
    made = bulyan(rows, byzantine)
    assert made.figures["chosen"] == ", ".join(f"c{one}" for one in selected)
    assert made.weights["w"].tolist() == means


@pytest.mark.parametrize(
    ("row", "count", "closest"),
    [
        ([0, 1, 2, 9, 10], 3, [0, 1, 2]),
        ([0, 7, 8, 9, 10], 3, [7, 8, 9]),
        ([1, 2, 3, 4, 5], 1, [3]),
        ([0, 2, 4], 2, [0, 2]),
        ([-50, 1, 2, 3], 2, [1, 2]),
        ([1, 2, 3], 3, [1, 2, 3]),
        ([7], 1, [7]),
    ],
)
def test_the_values_closest_to_the_median(row, count, closest):
    assert closest_to_median(count)(np.array([row], np.float32)).tolist() == [closest]


def test_a_hidden_change_of_one_element_does_not_reach_the_model():
    rng = np.random.default_rng(0)
    rows = rng.normal(1, 0.1, (7, 400)).astype(np.float32)
    rows[3, 5] = 2.5
    made = bulyan(rows, 1)
    assert abs(made.weights["w"][5] - 1) < 0.2


def test_order_and_equal_updates():
    rows = np.random.default_rng(1).normal(size=(10, 30)).astype(np.float32)
    updates = updates_of(*[(1, {"w": row}) for row in rows])
    again = Bulyan().aggregate({"w": np.zeros(30, np.float32)}, Updates(reversed(updates)), {})
    assert again.weights["w"].tobytes() == bulyan(rows, 1).weights["w"].tobytes()
    assert bulyan(rows[:1].repeat(7, axis=0), 1).weights["w"].tobytes() == rows[0].tobytes()


def test_values_at_the_end_of_float64():
    largest = np.finfo(np.float64).max
    rows = np.array([[-largest, -largest, largest, largest, largest]])
    assert closest_to_median(3)(rows).tolist() == [[largest] * 3]


def test_how_many_updates_are_needed():
    assert (Bulyan(byzantine=0).fewest(), Bulyan(byzantine=3).fewest()) == (3, 15)
