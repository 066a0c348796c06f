"""Noise on statistics: as much as is asked for, the same in any order, and from the client's secret alone."""

from __future__ import annotations

import numpy as np
import pytest

from fedstream.privacy.normals import Normals
from fedstream.record.statistics import Statistics, from_text
from fedstream.statistics.combine import described
from fedstream.statistics.noise import deviation, noised

ASKED = Statistics(noise_multiplier=2.0, bounds={"age": (0, 100), "weight": (20, 220)})
SIZES = {"age": 1, "weight": 1}
X = np.stack([np.linspace(-50, 150, 400), np.linspace(20, 220, 400)], axis=1)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_the_noise_has_the_variance_that_is_asked_for() -> None:
    made = [noised(X, list(SIZES), ASKED, SIZES, Normals(key(number)))[1] for number in range(600)]
    quiet = Statistics(noise_multiplier=1e-6, bounds=ASKED.bounds)
    exact = noised(X, list(SIZES), quiet, SIZES, Normals(key(0)))[1]
    std = deviation(ASKED, SIZES)
    assert std == pytest.approx(2 * np.sqrt(6))
    # Without missing values, the noise on the sum is in units of the range, 200, plus that of the count, 20 a value.
    differences = [
        float(from_text(one.total) - 20 * one.count - from_text(exact.total) + 20 * exact.count) / 200 for one in made
    ]
    assert np.mean(differences) == pytest.approx(0, abs=5 * std / np.sqrt(600))
    assert np.var(differences) == pytest.approx(std**2, rel=0.2)


def test_one_record_changes_the_sums_by_no_more_than_its_bounds() -> None:
    asked = Statistics(noise_multiplier=1e-6, bounds=ASKED.bounds)
    before = noised(X, list(SIZES), asked, SIZES, Normals(key(1)))
    changed = X.copy()
    changed[7] = [1e30, -1e30]
    after = noised(changed, list(SIZES), asked, SIZES, Normals(key(1)))
    for one, other, (low, high) in zip(before, after, ASKED.bounds.values(), strict=True):
        assert abs(float(from_text(one.total) - from_text(other.total))) <= (high - low) * 1.001


def test_the_same_key_gives_the_same_bytes_in_any_order() -> None:
    one = noised(X, list(SIZES), ASKED, SIZES, Normals(key(3)))
    assert one == noised(X[::-1], list(SIZES), ASKED, SIZES, Normals(key(3)))
    assert one != noised(X, list(SIZES), ASKED, SIZES, Normals(key(4)))


def test_nothing_but_noisy_sums_is_sent() -> None:
    for sums in noised(X, list(SIZES), ASKED, SIZES, Normals(key(5))):
        assert (sums.bins, sums.minimum, sums.maximum) == ([], None, None)
        assert described(sums).variance is not None


@pytest.mark.parametrize(
    "values", [{"noise_multiplier": 1}, {"bounds": {"a": [0, 1]}}, {"noise_multiplier": 1, "bounds": {"a": [1, 1]}}]
)
def test_noise_and_bounds_belong_together(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"belong together|not in order"):
        Statistics.model_validate(values)
