"""The noise: normal, of the right variance, and the same bits for the same key."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.privacy.normals import PAIRS, Normals, logarithm

KEY = bytes(range(32))
MANY = 1_000_000


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    return Normals(KEY).take(MANY)


def test_the_moments_are_those_of_a_standard_normal(numbers: np.ndarray) -> None:
    """Bounds are 5 standard errors: sqrt(var / n), where the moments of a normal number are 1, 3, 15, 105."""
    assert abs(numbers.mean()) < 5 / math.sqrt(MANY)
    assert abs((numbers**2).mean() - 1) < 5 * math.sqrt(2 / MANY)
    assert abs((numbers**3).mean()) < 5 * math.sqrt(15 / MANY)
    assert abs((numbers**4).mean() - 3) < 5 * math.sqrt(96 / MANY)


def test_the_distribution_is_normal_everywhere(numbers: np.ndarray) -> None:
    """Kolmogorov and Smirnov: the distribution functions differ by more than 1.95 / sqrt(n) once in 1000 times."""
    ordered = np.sort(numbers)[:: MANY // 1000]
    expected = [0.5 * math.erfc(-value / math.sqrt(2)) for value in ordered]
    assert np.abs(np.arange(1000) / 1000 - expected).max() < 1.95 / math.sqrt(MANY) + 1e-6


def test_neighbours_are_independent(numbers: np.ndarray) -> None:
    for lag in (1, 2, PAIRS):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 5 / math.sqrt(MANY)
        assert abs(np.corrcoef(numbers[:-lag] ** 2, numbers[lag:] ** 2)[0, 1]) < 5 / math.sqrt(MANY)


def test_the_bits_of_a_key_never_change() -> None:
    """Runs on record are verified with these bits, on any processor and with any version of numpy."""
    assert hashlib.sha256(Normals(KEY).take(100_000).tobytes()).hexdigest() == (
        "fb3e39ec0c7da0bc15dcd186eebdfe39747a22bba68ecc6f893296788c038926"
    )


def slowly(key: bytes, count: int) -> list[float]:
    """Return the same numbers, one by one, as the module's description says."""
    found: list[float] = []
    draw = 0
    while len(found) < count:
        bits = hashlib.shake_256(key + draw.to_bytes(8, "big")).digest(16 * PAIRS)
        words = [int.from_bytes(bits[at : at + 8], "little") for at in range(0, len(bits), 8)]
        uniform = [(word >> 11) / 2**52 - 1 for word in words]
        for u, v in zip(uniform[:PAIRS], uniform[PAIRS:], strict=True):
            if 0 < (s := u * u + v * v) < 1:
                factor = math.sqrt(-2 * math.log(s) / s)
                found += [u * factor, v * factor]
        draw += 1
    return found[:count]


def test_the_numbers_are_those_of_the_slow_reference() -> None:
    np.testing.assert_allclose(Normals(KEY).take(20_000), slowly(KEY, 20_000), rtol=1e-14)


@given(st.lists(st.integers(0, 5_000), max_size=8))
def test_the_sequence_does_not_depend_on_the_portions(portions: list[int]) -> None:
    normals = Normals(KEY)
    taken = np.concatenate([np.empty(0), *(normals.take(portion) for portion in portions)])
    assert np.array_equal(taken, Normals(KEY).take(sum(portions)))


def test_another_key_gives_other_numbers(numbers: np.ndarray) -> None:
    other = Normals(KEY[::-1]).take(MANY)
    assert abs(np.corrcoef(numbers, other)[0, 1]) < 5 / math.sqrt(MANY)


@given(st.lists(st.floats(min_value=2.0**-110, max_value=1.0, exclude_min=False), min_size=1, max_size=50))
def test_the_logarithm_is_nearly_exact(values: list[float]) -> None:
    exact = np.array([math.log(value) for value in values])
    assert (np.abs(logarithm(np.array(values)) - exact) <= 3 * np.spacing(np.abs(exact))).all()
