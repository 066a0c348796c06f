from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.errors import UsageError
from fedstream.model.split import split_mask

seeds = st.integers(0, 2**31 - 1)
rates = st.floats(0, 1, exclude_max=True)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, rate=rates, short=st.integers(0, 300), more=st.integers(0, 300), partitions=st.integers(1, 4))
def test_a_record_stays_on_its_side_when_the_stream_grows(
    seed: int, rate: float, short: int, more: int, partitions: int
) -> None:
    offsets = np.arange(short + more)
    partition = offsets % partitions
    whole = split_mask(seed, partition, offsets, rate)
    assert np.array_equal(split_mask(seed, partition[:short], offsets[:short], rate), whole[:short])
    order = np.argsort(-offsets)
    assert np.array_equal(split_mask(seed, partition[order], offsets[order], rate), whole[order])


@settings(max_examples=50, deadline=None)
@given(seed=seeds, low=rates, high=rates)
def test_a_larger_rate_holds_out_the_same_records_and_more(seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    offsets, partitions = np.arange(200), np.zeros(200, np.int32)
    assert not (split_mask(seed, partitions, offsets, low) & ~split_mask(seed, partitions, offsets, high)).any()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.99])
def test_the_held_out_part_is_near_the_rate_in_every_partition(rate: float) -> None:
    n = 20_000
    for partition in range(3):
        part = split_mask(7, np.full(n, partition), np.arange(n), rate).mean()
        assert abs(part - rate) <= 4 * np.sqrt(rate * (1 - rate) / n)


def test_seed_partition_and_offset_all_matter() -> None:
    offsets, zeros = np.arange(1000), np.zeros(1000, np.int64)
    base = split_mask(1, zeros, offsets, 0.5)
    for other in (
        split_mask(2, zeros, offsets, 0.5),
        split_mask(1, zeros + 1, offsets, 0.5),
        split_mask(1, zeros, offsets + 2**40, 0.5),
    ):
        assert 0.4 < (base != other).mean() < 0.6


def test_the_split_of_a_seed_is_on_record() -> None:
    """A change here makes every run on record train on other records."""
    assert np.flatnonzero(split_mask(42, np.zeros(40, np.int32), np.arange(40), 0.2)).tolist() == [
        3,
        4,
        5,
        18,
        21,
        22,
        25,
        28,
        29,
        30,
    ]


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_outside_zero_to_one_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="held-out rate"):
        split_mask(0, np.zeros(1, np.int32), np.zeros(1, np.int64), rate)
