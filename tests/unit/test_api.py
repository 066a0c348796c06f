"""The names of `import fedstream`, and what they cost."""

import subprocess
import sys

import numpy as np
import pandas
import pytest

import fedstream
from fedstream.api import to_arrays
from fedstream.errors import UsageError

PUBLIC = [
    "__version__",
    "add_model",
    "history",
    "keras",
    "load_dataset",
    "load_model",
    "predict",
    "run",
    "send",
    "show_report",
    "simulate",
    "start",
    "trace",
]


def test_the_public_names_are_these_and_each_is_there():
    assert fedstream.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(fedstream))
    assert all(getattr(fedstream, name) for name in PUBLIC)
    with pytest.raises(AttributeError, match="module 'fedstream' has no attribute 'train'"):
        _ = fedstream.train


def test_importing_it_imports_nothing_that_is_slow():
    code = (
        "import sys, fedstream; print({'numpy', 'pandas', 'tensorflow', 'keras', 'kafka', 'minio', "
        "'pydantic'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
        == "set()\n"
    )


def test_run_is_the_function():
    assert fedstream.run is sys.modules["fedstream.api"].run


def test_a_data_frame_s_columns_are_the_samples_and_its_index_is_none():
    frame = pandas.DataFrame({"age": [40, 60], "ill": ["no", "yes"], "weight": [70.5, 80.0]}, index=[1000, 2000])
    x, y, features = to_arrays(frame, "ill")
    assert (x.dtype, x.tolist(), list(y), features) == (
        np.float32,
        [[40.0, 70.5], [60.0, 80.0]],
        ["no", "yes"],
        ["age", "weight"],
    )
    x, y, features = to_arrays(frame[["weight"]], frame["ill"])
    assert (x.tolist(), list(y), features) == ([[70.5], [80.0]], ["no", "yes"], ["weight"])


def test_arrays_stay_as_they_are():
    x, y, features = to_arrays(np.zeros((2, 8, 8), np.uint8), [0, 1])
    assert (x.shape, x.dtype, y.tolist(), features) == ((2, 8, 8), np.uint8, [0, 1], [])


def test_columns_that_cannot_be_are_named():
    frame = pandas.DataFrame({"age": [40], "ward": ["a"], "ill": [0]})
    with pytest.raises(UsageError, match=r"column 'ward' has type .*, which is not numeric"):
        to_arrays(frame, "ill")
    with pytest.raises(UsageError, match="there is no column 'sick'; there are age, ward, ill"):
        to_arrays(frame, "sick")


def test_a_data_frame_is_not_predicted_in_whatever_order_its_columns_have():
    with pytest.raises(UsageError, match="pass the columns in the order that the model expects"):
        fedstream.predict("mine", pandas.DataFrame({"age": [40]}))
