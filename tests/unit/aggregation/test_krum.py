"""Krum and MultiKrum, against scores in fractions, and against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.strategies import krum_reference, updates_of

from fedstream.aggregation.distances import Distances, nearest
from fedstream.aggregation.krum import Krum
from fedstream.aggregation.multikrum import MultiKrum
from fedstream.aggregation.updates import Update, Updates


def made_of(values, dtype=np.float32):
    """Return a base of zeros and the updates of clients with these values."""
    updates = Updates(
        Update(f"c{number:02}", 1, {"w": np.array(row, dtype).reshape(-1)}) for number, row in enumerate(values)
    )
    return {"w": np.zeros_like(updates[0].weights["w"])}, updates


def chosen(strategy, values):
    return strategy.aggregate(*made_of(values), {})


@pytest.mark.parametrize(
    ("values", "byzantine", "client"),
    [
        ([0.0, 1.0, 2.0, 3.0, 100.0], 1, "c01"),  # two neighbours: 0 has 1 + 4, 1 and 2 have 1 + 1, so the first counts
        ([0.0, 1.1, 2.0, 3.0, 100.0], 1, "c02"),  # 1.1 has 0.81 + 1.21, 2 has 0.81 + 1
        ([5.0, 5.0, 5.0], 0, "c00"),
        ([-1e30, 7.0, 7.5, 8.0, 1e30], 1, "c02"),
        ([1e-4, 2e-4, 2.5e-4, 4e-4, 1e30], 1, "c01"),  # 1e-8 + 0.25e-8, and 0.25e-8 + 2.25e-8 for the next
    ],
)
def test_cases_worked_out_by_hand(values, byzantine, client):
    made = chosen(Krum(byzantine=byzantine), values)
    assert made.figures["chosen"] == client
    value = np.float32(values[int(client[1:])])
    assert made.weights["w"].tolist() == [value]
    assert made.figures["norm"] == pytest.approx(float(value))


@settings(deadline=None, max_examples=150)
@example([[0], [0], [0], [1], [1], [1]], 0)
@example([[1], [0], [1], [0], [1], [0]], 1)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=5, max_size=9),
    st.integers(0, 1),
)
def test_choices_with_many_ties_are_those_of_fractions(rows, byzantine):
    base, updates = made_of(rows)
    for count in range(1, len(rows) + 1):
        found = nearest(Distances(base, updates), range(len(rows)), len(rows) - byzantine - 2, count)
        assert found == krum_reference(rows, byzantine, count)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("far", [1.0, 1e4])
def test_updates_that_differ_by_little_are_told_apart(dtype, far):
    rng = np.random.default_rng(3)
    values = far * (1 + rng.normal(0, 1e-4, (9, 50)))
    values[4] *= -1
    rows = [row.astype(dtype) for row in values]
    base, updates = made_of(rows, dtype)
    found = nearest(Distances(base, updates), range(9), 6, 4)
    assert found == krum_reference(rows, 1, 4)


def test_updates_far_from_the_base_and_near_to_each_other_need_the_agreed_distances():
    rows = [np.float64(2**30 + number * 2.0**-22) for number in (0, 1, 2, 4, 7)]
    base, updates = made_of(rows, np.float64)
    distances = Distances(base, updates)
    assert nearest(distances, range(5), 2, 1) == krum_reference(rows, 1, 1) == [1]
    assert any(distances.is_agreed(one) for one in range(5))


def test_clear_choices_need_no_more_than_products():
    rows = np.random.default_rng(0).normal(size=(12, 5000))
    base, updates = made_of(rows)
    distances = Distances(base, updates)
    assert nearest(distances, range(12), 9, 5) == reference_in_floats(rows.astype(np.float32), 1, 5)
    assert not any(distances.is_agreed(one) for one in range(12))


def reference_in_floats(rows, byzantine, count):
    squares = np.square(rows[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    scores = np.sort(squares, axis=1)[:, 1 : len(rows) - byzantine - 1].sum(axis=1)
    return sorted(np.argsort(scores, kind="stable")[:count].tolist())


def test_bounds_hold_and_agreed_distances_are_within_them():
    rng = np.random.default_rng(5)
    shapes = {"a": (33, 121), "b": (7,), "c": ()}
    base = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    updates = updates_of(
        *[(1, {name: (array + rng.normal(0, 0.01)).astype(np.float32) for name, array in base.items()})] * 2,
        *[
            (1, {name: (array + rng.normal(0, 9)).astype(np.float32) for name, array in base.items()})
            for _ in range(35)
        ],
    )
    rough, exact = Distances(base, updates), Distances(base, updates)
    exact.agree(range(len(updates)))
    assert np.all(np.abs(rough.values - exact.values) <= rough.errors)
    assert np.all(rough.errors <= 1e-9 * (1 + rough.values.max()))
    assert not exact.errors.any()
    assert np.array_equal(exact.values, exact.values.T)
    assert exact.values[0, 1] == 0


def test_values_whose_squares_overflow_are_far_from_the_others():
    rows = [[1e200, 0], [1.0, 2.0], [1.0, 2.5], [1.5, 2.0], [-1e200, 0]]
    base, updates = made_of(rows, np.float64)
    assert nearest(Distances(base, updates), range(5), 2, 3) == [1, 2, 3]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.permutations(range(7)), st.sampled_from([0.25, 2.0, 1024.0]))
def test_permutations_and_scales_change_nothing(seed, order, scale):
    rows = np.random.default_rng(seed).normal(size=(7, 20)).astype(np.float32)
    base, updates = made_of(rows)
    for strategy in (Krum(), MultiKrum(), MultiKrum(keep=3)):
        made = strategy.aggregate(base, updates, {})
        again = strategy.aggregate(base, Updates(updates[one] for one in order), {})
        assert again.weights["w"].tobytes() == made.weights["w"].tobytes()
        assert again.figures == made.figures
        larger = strategy.aggregate(*made_of(rows * np.float32(scale)), {})
        assert larger.figures["chosen"] == made.figures["chosen"]
        assert np.array_equal(larger.weights["w"], made.weights["w"] * np.float32(scale))


def test_equal_updates_stay():
    for strategy in (Krum(), MultiKrum()):
        assert chosen(strategy, [[0.1, -7.25]] * 5).weights["w"].tolist() == [np.float32(0.1), -7.25]


def test_ties_go_to_the_first_name_not_to_the_first_that_arrived():
    weights = {name: {"w": np.array([value], np.float32)} for name, value in (("z", 0), ("m", 1), ("a", 2))}
    updates = Updates(Update(client, 1, array) for client, array in weights.items())
    made = Krum(byzantine=0).aggregate({"w": np.zeros(1, np.float32)}, updates, {})
    assert made.figures["chosen"] == "a", "with one neighbour, each has the score 1"


def test_multikrum_averages_those_it_keeps():
    values = [1.0, 2.0, 3.0, 4.5, 1e6]
    made = chosen(MultiKrum(byzantine=1), values)
    assert made.figures == {"chosen": "c00, c01, c02, c03", "left_out": "c04"}
    assert made.weights["w"].tolist() == [2.625]
    made = chosen(MultiKrum(byzantine=1, keep=2), values)
    assert made.figures == {"chosen": "c01, c02", "left_out": "c00, c03, c04"}
    assert made.weights["w"].tolist() == [2.5]


def test_how_many_updates_are_needed():
    assert (Krum(byzantine=0).fewest(), Krum(byzantine=2).fewest()) == (3, 7)
    assert (MultiKrum(byzantine=1).fewest(), MultiKrum(byzantine=1, keep=9).fewest()) == (5, 9)
