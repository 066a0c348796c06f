"""Contributions, against hand-computed angles and lengths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.strategies import updates_of

from fedstream.aggregation.contribution import contributions

BASE = {"a": np.array([1.0, 1.0], np.float32), "b": np.array([[0.0]], np.float32), "n": np.array([3], np.int64)}


def moved(x, y, z):
    return {"a": BASE["a"] + np.array([x, y], np.float32), "b": BASE["b"] + np.float32(z), "n": BASE["n"]}


def test_lengths_and_angles_over_all_floating_variables():
    updates = updates_of((10, moved(3, 0, 4)), (10, moved(-3, 0, -4)), (5, moved(0, 2, 0)), (1, moved(0, 0, 0)))
    found = contributions(BASE, moved(3, 0, 0), updates)
    assert {client: round(item.norm, 12) for client, item in found.items()} == {"c0": 5, "c1": 5, "c2": 2, "c3": 0}
    cosines = [found[client].cosine for client in ("c0", "c1", "c2", "c3")]
    assert cosines == [pytest.approx(0.6), pytest.approx(-0.6), 0, None]


def test_a_model_that_did_not_move_has_no_direction():
    assert contributions(BASE, BASE, updates_of((1, moved(1, 0, 0))))["c0"].cosine is None


def test_a_norm_beyond_float64_is_left_out():
    base = {"a": np.zeros(2)}
    updates = updates_of((1, {"a": np.full(2, 1e300)}), (1, {"a": np.ones(2)}))
    assert contributions(base, {"a": np.ones(2)}, updates).keys() == {"c1"}


@given(
    hnp.arrays(np.float32, (3, 700), elements=st.floats(-100, 100, width=32)),
    st.permutations(range(3)),
)
@settings(deadline=None, max_examples=50)
def test_each_client_is_compared_alone_and_exactly_summed(values, order):
    base = {"w": np.zeros(700, np.float32)}
    model = {"w": values.mean(axis=0, dtype=np.float32)}
    found = contributions(base, model, updates_of(*[(1, {"w": row}) for row in values]))
    again = contributions(base, model, updates_of(*[(1, {"w": values[number]}) for number in order]))
    step = model["w"].astype(np.float64)
    for number, row in enumerate(values.astype(np.float64)):
        item = found[f"c{number}"]
        assert again[f"c{order.index(number)}"] == item
        norm = math.sqrt(math.fsum(row * row))
        assert item.norm == pytest.approx(norm, rel=1e-12)
        if item.cosine is not None:
            expected = math.fsum(row * step) / (norm * math.sqrt(math.fsum(step * step)))
            assert item.cosine == pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert -1 <= item.cosine <= 1
