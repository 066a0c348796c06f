"""The order of the records is that of TensorFlow's data sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.model._tensorflow import tensorflow
from fedstream.model.shuffle import orders, philox


def of_tensorflow(index: np.ndarray, seed: int, epochs: int) -> list[np.ndarray]:
    """Return the orders of the passes of a data set, of which `fit` drops every second one."""
    tf = tensorflow()
    shuffled = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(tf.data.Dataset.from_tensor_slices(index)),
        buffer_size=len(index),
        seed=seed,
        seed2=seed,
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        output_types=[tf.int64],
        output_shapes=[[]],
        reshuffle_each_iteration=True,
        metadata="",
    )
    passes = tf.data.experimental.from_variant(shuffled, tf.TensorSpec([], tf.int64)).batch(len(index))
    return [next(iter(passes)).numpy() for _ in range(2 * epochs)][::2]


@pytest.mark.parametrize(
    ("records", "seed", "epochs"), [(1, 1, 1), (2, 7, 5), (144, 123_456_789, 2), (1000, 2**31 - 1, 3), (5003, 17, 1)]
)
def test_the_order_is_the_one_of_tensorflow(records: int, seed: int, epochs: int) -> None:
    index = np.flatnonzero(np.arange(2 * records) % 2)
    ours = list(orders(index, seed, epochs))
    assert len(ours) == epochs
    for own, other in zip(ours, of_tensorflow(index, seed, epochs), strict=True):
        assert own.dtype == np.int64
        assert np.array_equal(own, other)


@given(st.integers(1, 300), st.integers(0, 2**31 - 1))
def test_every_record_comes_once(records: int, seed: int) -> None:
    (order,) = orders(np.arange(records), seed, 1)
    assert sorted(order.tolist()) == list(range(records))


def test_philox_gives_the_published_numbers() -> None:
    """Random123's known answers of philox4x32-10, for a counter and a key of zeros."""
    assert [f"{word:08x}" for word in philox(0, 0, 4)] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
