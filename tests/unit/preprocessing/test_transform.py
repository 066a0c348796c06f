"""What each step does to records, and what it says of records that it does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedstream.errors import RecordError, SpecError
from fedstream.preprocessing.transform import Transform, resolve, resolve_fields
from fedstream.record.preprocessing import Preprocessing

NAN = np.nan


def transform(*steps: dict[str, Any], shape: tuple[int, ...] = (3,), labels: int = 0) -> Transform:
    declared = Preprocessing.model_validate({"steps": list(steps), "one_hot_labels": labels})
    names = ["a", "b", "c"][: shape[0]] if len(shape) == 1 else []
    return resolve(
        declared, shape, names, {"a": (1.0, 2.0), "b": (4.0, 0.0), "c": (0.5, 0.25), "all values": (2.0, 4.0)}
    )


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        ([], [1, NAN, 3], [1, NAN, 3]),
        ([{"step": "scale", "factor": 0.5, "offset": 1}], [2, 4, NAN], [2, 3, NAN]),
        ([{"step": "scale", "factor": 10, "columns": ["b", 2]}], [1, 2, 3], [1, 20, 30]),
        ([{"step": "standardise"}], [5, 4, 0], [2, 0, -2]),
        ([{"step": "standardise"}, {"step": "fill_missing"}], [NAN, 4, 0.5], [0, 0, 0]),
        ([{"step": "fill_missing", "value": 7, "columns": ["a"]}], [NAN, NAN, 1], [7, NAN, 1]),
        ([{"step": "cast", "dtype": "uint8"}], [-3, 300, 7.9], [0, 255, 7]),
        ([{"step": "cast", "dtype": "int8", "columns": ["a"]}], [-1.9, 0.5, NAN], [-1, 0.5, NAN]),
        ([{"step": "cast", "dtype": "bool"}], [-2, 0, NAN], [1, 0, NAN]),
        ([{"step": "cast", "dtype": "float32"}], [1, 2, 3], [1, 2, 3]),
        ([{"step": "one_hot", "columns": ["b"], "categories": [5, 2]}], [1, 2, 3], [1, 0, 1, 3]),
        ([{"step": "one_hot", "columns": ["a"], "categories": [0, 1]}], [9, 2, 3], [0, 0, 2, 3]),
        (
            [{"step": "one_hot", "columns": ["a", "c"], "categories": [0, 1]}, {"step": "scale", "factor": 2}],
            [1, 2, 0],
            [0, 1, 4, 1, 0],
        ),
    ],
)
def test_steps_change_samples(steps: list[dict[str, Any]], before: list[float], after: list[float]) -> None:
    made = transform(*steps)
    assert made.shape == (len(after),)
    np.testing.assert_array_equal(made.samples(np.array([before, before])), [after, after])


def test_a_chunk_is_preprocessed_as_in_the_whole() -> None:
    made = transform({"step": "standardise"}, {"step": "one_hot", "columns": [1], "categories": [0, 1]})
    x = np.random.default_rng(0).integers(0, 3, (50, 3)).astype(np.uint8)
    parts = np.concatenate([made.samples(x[start : start + 7]) for start in range(0, 50, 7)])
    assert parts.tobytes() == made.samples(x).tobytes()
    assert parts.dtype == np.float32


def test_samples_that_no_step_changes_stay_the_same_array() -> None:
    x = np.ones((2, 3), np.uint8)
    assert transform().samples(x) is x


def test_a_picture_is_standardised_as_a_whole() -> None:
    x = np.array([[[2, 6], [10, -2]]], np.int16)
    np.testing.assert_array_equal(transform({"step": "standardise"}, shape=(2, 2)).samples(x), [[[0, 1], [2, -1]]])


@pytest.mark.parametrize(
    ("steps", "shape", "said"),
    [
        ([{"step": "scale", "columns": ["d"]}], (3,), "step scale names column 'd', .*they have a, b, c"),
        ([{"step": "scale", "columns": [3]}], (3,), "step scale names column 3"),
        ([{"step": "scale", "columns": [0]}], (2, 2), "several dimensions have no columns; leave `columns` out"),
        ([{"step": "one_hot", "columns": ["a"], "categories": [1]}], (2, 2), "have no columns"),
        (
            [{"step": "one_hot", "columns": ["a"], "categories": [1]}, {"step": "scale", "columns": ["a"]}],
            (3,),
            "step scale names column 'a', which an earlier step has one-hot encoded",
        ),
        ([{"step": "scale"}, {"step": "standardise"}], (3,), "standardise follows a step that changes column 'a'"),
        ([{"step": "standardise"}, {"step": "standardise"}], (3,), "standardise first"),
    ],
)
def test_steps_that_do_not_fit_are_explained(steps: list[dict[str, Any]], shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        transform(*steps, shape=shape)


def test_labels_become_one_hot_vectors() -> None:
    made = transform(labels=3)
    np.testing.assert_array_equal(made.labels(np.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(made.labels(np.array([[2.0], [0.0]])), [[0, 0, 1], [1, 0, 0]])
    with pytest.raises(RecordError, match=r"label 3 of record 1 is none of the classes 0 to 2 .* 1 of 2 labels"):
        made.labels(np.array([0, 3]))


def test_fields_are_columns() -> None:
    x = np.zeros(2, [("age", np.int32), ("ward", np.uint8), ("picture", np.uint8, (2, 2)), ("note", "U9")])
    x["age"], x["ward"], x["picture"] = [40, 60], [2, 0], 3
    steps = [
        {"step": "standardise", "columns": ["age"]},
        {"step": "one_hot", "columns": ["ward"], "categories": [0, 2]},
        {"step": "scale", "columns": ["picture"], "factor": 2},
    ]
    made = resolve_fields(Preprocessing.model_validate({"steps": steps}), x.dtype, {"age": (50.0, 10.0)})
    after = made.samples(x)
    assert after.dtype.names == x.dtype.names
    np.testing.assert_array_equal(after["age"], [-1, 1])
    np.testing.assert_array_equal(after["ward"], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(after["picture"], np.full((2, 2, 2), 6))
    assert after["note"].dtype == x["note"].dtype


@pytest.mark.parametrize(("column", "said"), [("note", "has no numbers"), ("height", "the records have age, note")])
def test_a_field_that_cannot_be_changed_is_named(column: str, said: str) -> None:
    declared = Preprocessing.model_validate({"steps": [{"step": "scale", "columns": [column]}]})
    with pytest.raises(SpecError, match=said):
        resolve_fields(declared, np.dtype([("age", np.int32), ("note", "U9")]))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"step": "eval", "code": "x"}, "'scale', 'standardise', 'fill_missing', 'one_hot', 'cast'"),
        ({"step": "cast", "dtype": "object"}, "dtype"),
        ({"step": "one_hot", "columns": ["a"], "categories": [1, 1]}, "named twice"),
        ({"step": "one_hot", "categories": [1]}, "columns"),
        ({"step": "scale", "factor": NAN}, "finite"),
        ({"step": "scale", "function": "lambda x: x"}, "not permitted"),
    ],
)
def test_a_step_that_is_not_valid_is_refused(step: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocessing.model_validate({"steps": [step]})
