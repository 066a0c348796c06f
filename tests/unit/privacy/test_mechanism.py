"""The Gaussian mechanism: what it adds, and what one client can change."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.privacy.mechanism import FINER, grid_of, noised_mean
from fedstream.privacy.normals import Normals

KEY = bytes(32)
BASE = {"b": np.zeros(3, np.float32), "w": np.zeros((200, 500), np.float32)}


def moved(*change: float) -> dict[str, np.ndarray]:
    """Return weights one of whose variables has moved."""
    return {**BASE, "b": np.array(change, np.float32)}


def test_changes_within_the_norm_are_averaged_over_all_that_were_asked() -> None:
    """(1, 2, 2) + (1, 0, 0), over 4 clients of whom 2 sent nothing."""
    mean = noised_mean(BASE, [moved(1, 2, 2), moved(1, 0, 0)], 4, 3.0, 1.0, None)
    assert mean["b"].tolist() == [0.5, 0.5, 0.5]
    assert not mean["w"].any()


def test_a_longer_change_is_clipped_to_the_norm() -> None:
    """(2, 4, 4) has the norm 6, and half of that is left."""
    mean = noised_mean(BASE, [moved(2, 4, 4)], 1, 3.0, 1.0, None)
    np.testing.assert_allclose(mean["b"], [1, 2, 2], rtol=1e-6)


def test_the_norm_is_that_of_all_variables_together() -> None:
    update = {"b": np.full(3, 3, np.float32), "w": np.full((200, 500), 0.01, np.float32)}
    norm = math.sqrt(27 + 1e5 * 1e-4)
    mean = noised_mean(BASE, [update], 1, 1.0, 1e-3, None)
    np.testing.assert_allclose(mean["b"], 3 / norm, rtol=1e-5)
    np.testing.assert_allclose(mean["w"], 0.01 / norm, rtol=1e-3)


@pytest.mark.parametrize(("std", "clients"), [(1.0, 1), (0.3, 10), (5.0, 100)])
def test_the_variance_of_the_noise_is_what_it_should_be(std: float, clients: int) -> None:
    """Of n squares, the mean is within 5 sqrt(2 / n) of the variance; noise that is 2 % off would be outside."""
    noise = noised_mean(BASE, [BASE] * clients, clients, 1.0, std, Normals(KEY))["w"] * (clients / std)
    assert abs(np.square(noise, dtype=np.float64).mean() - 1) < 5 * math.sqrt(2 / noise.size) < 0.04
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size)


def test_each_variable_gets_noise_of_its_own() -> None:
    same = {"a": np.zeros(100, np.float32), "b": np.zeros(100, np.float32)}
    mean = noised_mean(same, [same], 1, 1.0, 1.0, Normals(KEY))
    assert not np.isclose(mean["a"], mean["b"]).any()


changes = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3)


@given(st.lists(changes, min_size=1, max_size=5), changes, st.floats(1e-3, 1e3), st.floats(0.01, 10))
@settings(max_examples=200)
def test_one_client_moves_the_sum_by_at_most_the_norm(
    others: list[list[float]], own: list[float], clip_norm: float, multiplier: float
) -> None:
    """float64 weights, so that the sum can be read from the result."""
    base = {"b": np.zeros(3)}
    updates = [{"b": np.array(change)} for change in [*others, own]]
    with_client, without = (
        noised_mean(base, part, 1, clip_norm, multiplier * clip_norm, None)["b"] for part in (updates, updates[:-1])
    )
    assert np.linalg.norm(with_client - without) <= clip_norm


@given(st.lists(changes, min_size=1, max_size=5), st.floats(0.01, 10))
def test_results_lie_on_the_grid(all_changes: list[list[float]], std: float) -> None:
    """With one client asked and a base of 0, the result is the sum itself."""
    updates = [{"b": np.array(change)} for change in all_changes]
    steps = noised_mean({"b": np.zeros(3)}, updates, 1, 1.0, std, Normals(KEY))["b"] / grid_of(std)
    assert (steps == np.rint(steps)).all()


@given(st.permutations(range(4)))
def test_the_order_of_the_clients_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    updates = [{"b": rng.normal(0, 10.0**power, 50).astype(np.float32)} for power in (-3, 0, 3, 6)]
    base = {"b": np.ones(50, np.float32)}
    means = [
        noised_mean(base, part, 4, 1.0, 1.0, Normals(KEY))["b"].tobytes()
        for part in (updates, [updates[at] for at in order])
    ]
    assert means[0] == means[1]


def slowly(base: np.ndarray, updates: list[np.ndarray], clients: int, clip: float, std: float) -> np.ndarray:
    """Return the mean of one variable with noise, element by element."""
    grid, noise = 2.0 ** (math.floor(math.log2(std)) - FINER), Normals(KEY).take(base.size)
    sums = [0] * base.size
    for update in updates:
        change = [float(new) - float(old) for new, old in zip(update, base, strict=True)]
        norm = math.sqrt(math.fsum(value * value for value in change))
        factor = min(1.0, clip * (1 - 2**-40) / norm) if norm else 1.0
        sums = [total + math.trunc(value * factor / grid) for total, value in zip(sums, change, strict=True)]
    sums = [total + round(number * std / grid) for total, number in zip(sums, noise, strict=True)]
    return np.array([float(old) + total * grid / clients for old, total in zip(base, sums, strict=True)])


def test_the_result_is_that_of_the_slow_reference() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=300)
    updates = [base + rng.normal(size=300) * scale for scale in (0.01, 0.1, 1.0)]
    fast = noised_mean({"w": base}, [{"w": update} for update in updates], 5, 1.5, 0.7, Normals(KEY))["w"]
    np.testing.assert_allclose(fast, slowly(base, updates, 5, 1.5, 0.7), rtol=0, atol=2 * grid_of(0.7))


def test_integers_stay_and_a_moving_variance_is_never_negative() -> None:
    base = {
        "norm/moving_variance": np.full(1000, 0.1, np.float32),
        "norm/moving_mean": np.zeros(1000, np.float32),
        "step": np.array([7]),
    }
    mean = noised_mean(base, [base], 1, 1.0, 1.0, Normals(KEY))
    assert mean["step"].tolist() == [7]
    assert mean["norm/moving_variance"].min() == 0
    assert mean["norm/moving_mean"].min() < 0
    assert {name: array.dtype for name, array in mean.items()} == {name: array.dtype for name, array in base.items()}


def test_a_change_beyond_float64_counts_as_no_change() -> None:
    base = {"w": np.full(2, -1.7e308)}
    assert (noised_mean(base, [{"w": np.full(2, 1.7e308)}], 1, 1.0, 1.0, None)["w"] == base["w"]).all()


@pytest.mark.parametrize("std", [1e-6, 0.3, 0.5, 1.0, 3.0, 1e9])
def test_the_grid_is_a_power_of_two_far_below_the_noise(std: float) -> None:
    assert math.frexp(grid_of(std))[0] == 0.5
    assert 2**FINER <= std / grid_of(std) < 2 ** (FINER + 1)
