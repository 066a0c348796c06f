import numpy as np
import pytest

from fedstream.errors import UsageError
from fedstream.local.datasets import load_dataset


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
