"""The noise of a model on record, checked without its secret."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.aggregation.updates import Update, Updates
from fedstream.audit.noise import why_implausible_noise
from fedstream.privacy.mechanism import noised_mean
from fedstream.privacy.normals import Normals
from fedstream.record.spec import parse_spec

STD, CLIENTS = 0.6, 3
SPEC = parse_spec(
    {
        "run": "a",
        "model": "m",
        "clipping": {"norm": 0.5},
        "privacy": {"where": "central", "noise_multiplier": STD / 0.5, "delta": 0.1, "max_epsilon": 99},
    }
)
RNG = np.random.default_rng(0)
BASE = {
    "w": RNG.normal(size=900).astype(np.float32),
    "b": np.zeros(100, np.float32),
    "norm/moving_variance": np.full(10, 0.1, np.float32),
    "steps": np.array([3]),
}
WEIGHTS = [
    {name: (array + RNG.normal(size=array.shape)).astype(array.dtype) for name, array in BASE.items()} for _ in range(2)
]
UPDATES = Updates(Update(f"c{number}", 7, weights) for number, weights in enumerate(WEIGHTS))


def said(std: float, key: bytes = bytes(32), scale: float = 1.0) -> str:
    base = {name: array * np.array(scale, array.dtype) for name, array in BASE.items()}
    recorded = noised_mean(base, WEIGHTS, CLIENTS, 0.5, std or STD, Normals(key) if std else None)
    return why_implausible_noise(SPEC, base, UPDATES, CLIENTS, recorded)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=100)
def test_noise_as_it_should_be_is_never_accused(key: bytes) -> None:
    assert said(STD, key) == ""


@pytest.mark.parametrize("times", [0, 0.5, 1.4, 2])
def test_noise_of_another_size_is_named(times: float) -> None:
    """So is a model without any: its operator did not add what the commit says."""
    assert said(times * STD).startswith("the difference from the mean of the updates has ")


def test_one_value_that_is_far_away_is_named() -> None:
    recorded = noised_mean(BASE, WEIGHTS, CLIENTS, 0.5, STD, Normals(bytes(32)))
    recorded["w"][7] += 12 * STD / CLIENTS
    assert said(STD) == ""
    assert why_implausible_noise(SPEC, BASE, UPDATES, CLIENTS, recorded).startswith("a value of w is 1")


def test_weights_too_large_for_the_noise_to_show_are_not_accused() -> None:
    """Noise below the last bit of a weight is lost when the model is rounded."""
    assert said(STD, scale=1e12) == ""
