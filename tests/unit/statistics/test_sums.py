"""Sums and histograms: exact in any order and any division among clients, against fractions and pooled numpy."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedstream.record.statistics import FeatureSums, from_text, to_text
from fedstream.statistics.bins import bins_of, counted, edges, merged, quantile, value_of
from fedstream.statistics.combine import added, described
from fedstream.statistics.exact import CHUNK, exact_sums
from fedstream.statistics.measure import measure

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TABLES = npst.arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(width=32))


@given(TABLES)
def test_sums_are_those_of_fractions(table: np.ndarray) -> None:
    sums, squares = exact_sums(table)
    for column, total, square in zip(table.T, sums, squares, strict=True):
        values = [Fraction(float(value)) for value in column if np.isfinite(value)]
        assert (total, square) == (sum(values, Fraction(0)), sum((value * value for value in values), Fraction(0)))


def test_sums_of_many_rows_are_exact_too() -> None:
    table = np.full((CHUNK + 3, 1), np.float32(0.1))
    assert exact_sums(table) == (
        [Fraction(float(table[0, 0])) * len(table)],
        [Fraction(float(table[0, 0])) ** 2 * len(table)],
    )


@given(st.integers(-(2**80), 2**80), st.integers(-200, 200))
def test_a_sum_comes_back_from_its_text(mantissa: int, power: int) -> None:
    value = Fraction(mantissa) * Fraction(2) ** power
    assert from_text(to_text(value)) == value
    assert not value or float.fromhex(to_text(value)) == pytest.approx(float(value), abs=1e-300)


@given(TABLES, st.randoms(use_true_random=False), st.integers(1, 4))
def test_clients_say_the_same_in_any_order_and_any_division(table: np.ndarray, random: Any, clients: int) -> None:
    whole = measure(table, [])
    rows = list(range(len(table)))
    random.shuffle(rows)
    parts = [measure(table[rows[start::clients]], []) for start in range(clients) if rows[start::clients]]
    for place, expected in enumerate(whole):
        assert added([part[place] for part in parts]) == expected


@given(npst.arrays(np.float32, st.integers(1, 60), elements=FLOATS))
def test_moments_are_those_of_the_pooled_records(values: np.ndarray) -> None:
    (found,) = [described(sums) for sums in measure(values[:, None], [])]
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    assert found.mean == float(mean)
    assert found.variance == float(sum(((value - mean) ** 2 for value in exact), Fraction(0)) / len(exact))
    assert (found.minimum, found.maximum) == (values.min(), values.max())


@given(FLOATS)
def test_a_value_is_within_its_bin(value: float) -> None:
    number = int(bins_of(np.array([value], np.float32))[0])
    assert edges(number)[0] <= value <= edges(number)[1]
    assert bins_of(np.array([-value], np.float32))[0] == -number


@pytest.mark.parametrize("value", [-256, -3, 0, 1, 2, 77, 256])
def test_a_small_whole_number_has_a_bin_of_its_own(value: int) -> None:
    assert value_of(int(bins_of(np.array([value], np.float32))[0])) == value


@given(
    npst.arrays(np.float32, st.integers(1, 200), elements=st.floats(2**-100, 2**100, width=32)),
    st.sampled_from([0.01, 0.25, 0.5, 0.9, 1.0]),
)
def test_a_quantile_is_within_its_bound(values: np.ndarray, probability: float) -> None:
    signed = np.where(np.arange(len(values)) % 3 == 0, -values, values).astype(np.float32)
    histogram = merged([counted(signed[::2]), counted(signed[1::2])])
    found = quantile(histogram, probability, float(signed.min()), float(signed.max()))
    exact = float(np.quantile(signed.astype(np.float64), probability, method="inverted_cdf"))
    assert abs(found - exact) <= 2.0**-8 * abs(exact)


def test_missing_values_are_counted_and_nothing_else() -> None:
    x = np.array([[1.0, np.nan, 1e300], [3.0, np.inf, 2.0]])
    a, b, c = measure(x, ["a", "b", "c"])
    assert (a.name, a.count, a.missing) == ("a", 2, 0)
    assert (b.count, b.missing, b.minimum, b.bins) == (0, 2, None, [])
    assert (c.count, c.missing, c.maximum) == (1, 1, 2.0)
    assert described(b).mean is None


def test_a_picture_is_one_feature_and_fields_are_features() -> None:
    (pixels,) = measure(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), [])
    assert (pixels.name, pixels.count, described(pixels).mean) == ("all values", 8, 3.5)
    fields = np.zeros(3, [("age", np.int64), ("picture", np.uint8, (2, 2)), ("note", "U5")])
    fields["age"] = [1, 2, 6]
    assert [(sums.name, sums.count) for sums in measure(fields, [])] == [("age", 3), ("picture", 12)]


def test_minus_zero_is_zero() -> None:
    assert measure(np.array([[-0.0], [0.0]]), []) == measure(np.array([[0.0], [-0.0]]), [])


@pytest.mark.parametrize("text", ["0x1", "0x2p+0", "1p+0", "0x1p+9999", "-0x0p+0", "0x" + "1" * 191 + "p+0"])
def test_a_sum_that_is_not_canonical_is_refused(text: str) -> None:
    sums = measure(np.ones((1, 1)), [])[0].model_dump() | {"total": text}
    with pytest.raises(ValueError, match="total"):
        FeatureSums.model_validate(sums)
