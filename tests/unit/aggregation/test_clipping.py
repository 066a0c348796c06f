"""Clipping and zeroing, against cases worked out by hand, and the updates that they give to a strategy."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.strategies import updates_of

from fedstream.aggregation.clipping import LARGEST, SMALLEST, clip, next_norm, scales_of
from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.norms import distance
from fedstream.aggregation.registry import BUILT_IN, make_strategy
from fedstream.aggregation.updates import Moved, Update, Updates
from fedstream.record.clipping import Clipping

BASE = {"w": np.array([1.0, 1.0], np.float32), "n": np.array([5])}


def update(*change):
    return (1, {"w": BASE["w"] + np.array(change, np.float32), "n": BASE["n"]})


UPDATES = updates_of(update(3, 4), update(0, 1), update(0, 0), update(-300, 400))


def changes(clipped):
    return [(one.weights["w"] - BASE["w"]).tolist() for one in clipped.updates]


def test_without_limits_nothing_is_touched():
    clipped = clip(Clipping(), BASE, UPDATES, {})
    assert clipped.updates is UPDATES
    assert (clipped.state, clipped.figures) == ({}, {})


def test_changes_are_scaled_down_to_the_norm():
    clipped = clip(Clipping(norm=2.5), BASE, UPDATES, {})
    assert changes(clipped) == [[1.5, 2.0], [0.0, 1.0], [0.0, 0.0], [-1.5, 2.0]]
    assert clipped.figures == {"clipping_norm": 2.5, "clipped": "c0, c3"}
    assert clipped.state == {}
    assert all(one.weights["n"] is BASE["n"] for one in clipped.updates)
    assert clipped.updates[1] is UPDATES[1], "the others are as they were sent"


def test_the_clients_that_did_not_take_part_are_still_counted():
    assert clip(Clipping(norm=2.5), BASE, Updates(UPDATES, 7), {}).updates.population == 7


def test_changes_far_above_the_median_count_as_none():
    clipped = clip(Clipping(zero_above=10), BASE, UPDATES, {})  # norms 5, 1, 0, 500: the median is 3
    assert changes(clipped) == [[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert clipped.figures == {"zeroed": "c3"}


def test_zeroing_comes_before_clipping():
    clipped = clip(Clipping(norm=2.5, zero_above=10), BASE, UPDATES, {})
    assert changes(clipped) == [[1.5, 2.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert clipped.figures == {"clipping_norm": 2.5, "clipped": "c0", "zeroed": "c3"}


@pytest.mark.parametrize(
    ("norms", "limit", "zero_above", "scales"),
    [
        ([1.0, 100.0], math.inf, 2.0, [1.0, 1.0]),  # of two, either could be the outlier
        ([1.0, 2.0, 4.0], math.inf, 2.0, [1.0, 1.0, 1.0]),
        ([1.0, 2.0, 4.1], math.inf, 2.0, [1.0, 1.0, 0.0]),
        ([0.0, 0.0, 4.0], math.inf, 2.0, [1.0, 1.0, 1.0]),  # a median of 0 says nothing
        ([1.0, 2.0, math.inf], 1.0, 0.0, [1.0, 0.5, 0.0]),
    ],
)
def test_scales(norms, limit, zero_above, scales):
    assert scales_of(norms, limit, zero_above) == scales


def test_the_norm_adapts_as_in_the_paper():
    clipping = Clipping(norm=2.0, quantile=0.5, learning_rate=0.2)
    clipped = clip(clipping, BASE, UPDATES, {})  # norms 5, 1, 0, 500: half of them are within 2
    assert clipped.state["norm"] == 2.0
    clipped = clip(clipping, BASE, UPDATES, {"norm": np.array(0.5)})  # one in four
    assert clipped.figures == {"clipping_norm": 0.5, "clipped": "c0, c1, c3"}
    assert float(clipped.state["norm"]) == pytest.approx(0.5 * math.exp(-0.2 * (0.25 - 0.5)), rel=1e-15)
    assert clipped.state["norm"].dtype == np.float64


def test_the_norm_ends_at_the_quantile_and_stays_within_its_limits():
    norms, norm = np.random.default_rng(0).lognormal(0, 1, 101).tolist(), 1e-3
    for _ in range(200):
        norm = next_norm(norm, norms, 0.8, 0.2)
    assert np.mean(np.array(norms) <= norm) == pytest.approx(0.8, abs=0.05)
    assert next_norm(1e30, [math.inf], 0.9, 10.0) == LARGEST
    assert next_norm(1e-30, [0.0], 0.1, 10.0) == SMALLEST


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"norm": -1}, "norm"),
        ({"norm": math.inf}, "norm"),
        ({"quantile": 0.5}, r"quantile is 0.5 and norm is 0; set norm to the first norm to clip to"),
        ({"norm": 1, "quantile": 1}, "quantile"),
        ({"norm": 1, "quantile": 0.5, "learning_rate": 0}, "learning_rate"),
        ({"zero_above": 0.5}, "zero_above is 0.5, which is below the median; use 1 or more, or 0"),
        ({"mode": "fixed"}, "mode"),
    ],
)
def test_limits_that_cannot_be(values, said):
    with pytest.raises(ValidationError, match=said):
        Clipping.model_validate(values)


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_no_change_is_larger_than_the_norm_but_for_the_rounding(seed, norm):
    rng = np.random.default_rng(seed)
    base = {"w": rng.normal(size=40).astype(np.float32)}
    updates = updates_of(
        *[(1, {"w": base["w"] + rng.normal(0, size, 40).astype(np.float32)}) for size in (0.01, 1, 100)]
    )
    rounding = 40 * 2.0**-24 * 600
    for before, after in zip(updates, clip(Clipping(norm=norm), base, updates, {}).updates, strict=True):
        assert distance(base, after.weights) <= min(norm, distance(base, before.weights)) * (1 + 1e-6) + rounding


def test_moved_weights_read_alike_whole_and_in_parts():
    rng = np.random.default_rng(0)
    base, sent = ({"w": rng.normal(size=(90, 800)).astype(np.float32)} for _ in range(2))
    moved, flat = Moved(base, sent, 0.3), (base["w"] + 0.3 * (sent["w"].astype(np.float64) - base["w"])).reshape(-1)
    assert moved["w"].tobytes() == flat.astype(np.float32).tobytes()
    assert moved.part("w", slice(5, 70_000)).tobytes() == flat[5:70_000].astype(np.float32).tobytes()
    assert (list(moved), len(moved), dict(moved).keys()) == (["w"], 1, {"w"})
    assert distance(base, Moved(base, sent, 0.0)) == 0.0


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_strategy_reads_clipped_updates_as_if_they_had_been_sent(name):
    rng, strategy = np.random.default_rng(7), make_strategy(name, {})
    base = {"a": rng.normal(size=(40, 30)).astype(np.float32), "b": rng.normal(size=3).astype(np.float16)}
    updates = Updates(
        Update(
            f"c{number}",
            number + 1,
            {key: array + rng.normal(0, number + 1, array.shape).astype(array.dtype) for key, array in base.items()},
            {key: np.ones(spec.shape, spec.dtype) for key, spec in strategy.local_rule().returns(base).items()},
            steps=5,
        )
        for number in range(9)
    )
    clipped = clip(Clipping(norm=100.0, zero_above=1.5), base, updates, {}).updates
    assert sum(isinstance(one.weights, Moved) for one in clipped) > 4
    copies = Updates(replace(one, weights=dict(one.weights.items())) for one in clipped)
    lazy, eager = strategy.aggregate(base, clipped, {}), strategy.aggregate(base, copies, {})
    assert all(lazy.weights[key].tobytes() == eager.weights[key].tobytes() for key in base)
    assert lazy.figures == eager.figures


def test_clipped_updates_are_never_copied_as_a_whole():
    size, clients = 500_000, 20
    base = {"w": np.zeros(size, np.float32)}
    updates = updates_of(*[(1, {"w": np.full(size, number, np.float32)}) for number in range(clients)])
    tracemalloc.start()
    try:
        federated_average(clip(Clipping(norm=1.0), base, updates, {}).updates.weighted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000, "the updates have 40 MB in float32; a float64 block of each has 5 MB"
