import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import UsageError
from fedstream.local.datasets import deal, load_dataset


@given(st.integers(1, 12), st.sampled_from(["iid", "shards", "dirichlet"]), st.integers(0, 5))
def test_every_record_is_dealt_once(clients, partition, seed):
    labels = np.random.default_rng(seed).integers(0, 10, 200)
    dealt = deal(labels, clients, partition, seed)
    assert len(dealt) == clients
    assert sorted(np.concatenate(dealt).tolist()) == list(range(200))


def test_shards_give_few_classes_to_each():
    labels = np.repeat(np.arange(10), 100)
    assert all(len(np.unique(labels[indices])) <= 3 for indices in deal(labels, 10, "shards"))


def test_the_same_seed_deals_the_same():
    labels = np.arange(100) % 10
    assert all(
        np.array_equal(a, b) for a, b in zip(deal(labels, 4, "dirichlet"), deal(labels, 4, "dirichlet"), strict=True)
    )


def test_digits_are_there_offline():
    digits = load_dataset("digits")
    assert digits.x_train.shape == (1437, 8, 8)
    assert digits.x_test.shape == (360, 8, 8)


def test_a_file_that_lacks_arrays_is_named(tmp_path):
    path = tmp_path / "half.npz"
    np.savez(path, x_train=np.zeros((3, 28, 28)))
    with pytest.raises(UsageError, match=r"half\.npz.*y_train"):
        load_dataset(str(path))


def test_an_absent_file_is_named():
    with pytest.raises(UsageError, match=r"none\.npz"):
        load_dataset("none.npz")
