"""The geometric median, against Weiszfeld's steps in float64, and against cases worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import updates_of

from fedstream.aggregation.geometricmedian import FARTHEST, FINEST, GeometricMedian, step_weights
from fedstream.aggregation.updates import Updates


def median(rows, examples=None, base=None, dtype=np.float32, **parameters):
    examples = examples or [1] * len(rows)
    updates = updates_of(*[(count, {"w": np.array(row, dtype)}) for count, row in zip(examples, rows, strict=True)])
    start = np.zeros(len(rows[0]), dtype) if base is None else np.array(base, dtype)
    return GeometricMedian(**parameters).aggregate({"w": start}, updates, {})


def reference(rows, examples, steps, smoothing):
    """Algorithm 2 of the paper from the median of each element, in float64."""
    rows, examples = np.array(rows, np.float64), np.array(examples, np.float64)
    point = np.median(rows, axis=0)
    for _ in range(steps):
        weights = examples / np.maximum(smoothing, np.linalg.norm(rows - point, axis=1))
        point = weights @ rows / weights.sum()
    return point


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_its_steps_are_those_of_the_paper(seed, steps, clients):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 5, (clients, 7)).astype(np.float32)
    examples = rng.integers(1, 50, clients).tolist()
    made = median(rows, examples, iterations=steps, tolerance=0, smoothing=1e-3)
    expected = reference(rows, examples, steps, 1e-3)
    assert np.allclose(made.weights["w"], expected, rtol=1e-4, atol=1e-5)


def test_one_step_worked_out_by_hand():
    # The median is (0, 0), and the distances from it are 5, 10, 5 and 10: weights 8/12, 1/12, 2/12 and 1/12.
    made = median([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [-6.0, -8.0]], [4, 1, 1, 1], iterations=1)
    assert made.weights["w"].tolist() == pytest.approx([1.5, 2.0])
    assert made.figures == {"steps": 1.0, "mean_distance": pytest.approx(45 / 7)}


def test_three_points_on_a_line_have_the_middle_one():
    made = median([[1.0], [2.0], [1000.0]], iterations=100, tolerance=0)
    assert made.weights["w"][0] == pytest.approx(2.0, abs=1e-3)


def test_it_stops_where_steps_gain_little():
    rows = np.random.default_rng(0).normal(size=(9, 20))
    made = median(rows, iterations=100, tolerance=1e-3)
    assert 1 < made.figures["steps"] < 20
    assert median(rows, iterations=2).figures["steps"] == 2


def test_examples_weigh():
    assert median([[0.0], [1.0]], [1, 100], base=[0.5], iterations=50).weights["w"][0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("far", [1e10, -3e38])
def test_hostile_updates_have_little_influence(far):
    honest = np.random.default_rng(2).normal(1, 0.1, (7, 5))
    made = median([*honest, *[[far] * 5] * 3])
    assert np.abs(made.weights["w"] - 1).max() < 0.3


def test_clients_that_send_the_model_back_do_not_hold_it():
    """Three free riders are exactly where the round began."""
    honest = np.random.default_rng(3).normal(1, 0.3, (7, 50))
    made = median([*honest, *[[0.0] * 50] * 3], base=[0.0] * 50)
    assert np.abs(made.weights["w"] - 1).mean() < 0.25


def test_differences_beyond_float64_count_as_far():
    largest = np.finfo(np.float64).max
    made = median([[largest], [-largest], [1.0], [1.0], [1.0]], dtype=np.float64)
    assert made.weights["w"].tolist() == [1.0]
    alone = median([[-largest]], base=[largest], dtype=np.float64)
    assert alone.weights["w"].tolist() == [-largest]
    assert alone.figures["mean_distance"] == 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 100), st.permutations(range(5)), st.sampled_from([0.5, 4.0]))
def test_order_equal_updates_and_scale(seed, order, scale):
    rows = np.random.default_rng(seed).normal(size=(5, 6)).astype(np.float32)
    whole = median(rows)
    updates = updates_of(*[(1, {"w": row}) for row in rows])
    again = GeometricMedian().aggregate({"w": np.zeros(6, np.float32)}, Updates(updates[one] for one in order), {})
    assert again.weights["w"].tobytes() == whole.weights["w"].tobytes()
    assert again.figures == whole.figures
    assert np.array_equal(median(rows * np.float32(scale)).weights["w"], whole.weights["w"] * np.float32(scale))
    assert median([rows[0]] * 4).weights["w"].tobytes() == rows[0].tobytes()


def test_weights_of_a_step():
    assert step_weights([1.0, 2.0], [1, 1], 1e-6) == [FINEST, FINEST // 2]
    assert step_weights([0.0, 2.0], [3, 6], 1.0) == [FINEST, FINEST]
    assert step_weights([1.0, 1e20], [1, 1], 1e-6) == [FINEST, 0]
    assert step_weights([FARTHEST, FARTHEST], [1, 2**62], 1e-6) == [0, FINEST]
    assert math.isfinite(2**63 * FARTHEST)
