from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from fedstream.errors import ModelError
from fedstream.model.compatibility import check_fit, check_labels
from fedstream.record.description import ModelDescription


@dataclass(frozen=True)
class Shapes:
    data_shape: tuple[int, ...]
    label_shape: tuple[int, ...] = ()
    data_dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))


def describe(
    input_shape: list[int], output_shape: list[int], loss: str = "sparse_categorical_crossentropy"
) -> ModelDescription:
    classes = output_shape[-1] if loss.startswith("sparse") else None
    return ModelDescription(
        name="mine",
        input_shape=input_shape,
        output_shape=output_shape,
        num_classes=classes,
        loss=loss,
        metrics=[],
        variables=[],
        keras_digest="",
        weights_digest="",
    )


DIGITS = describe([8, 8], [10])


@pytest.mark.parametrize("label", [(), (1,)])
def test_a_stream_of_the_models_shape_fits(label: tuple[int, ...]) -> None:
    check_fit(DIGITS, Shapes((8, 8), label))


@pytest.mark.parametrize("shape", [(28, 28), (64,), (8, 8, 1), ()])
def test_another_input_shape_is_named_with_the_models(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ModelError, match=r"'mine' has input \(8, 8\), which does not fit the stream's records of shape"
    ) as caught:
        check_fit(DIGITS, Shapes(shape))
    assert str(shape) in str(caught.value)


def test_one_hot_labels_do_not_fit_a_sparse_loss() -> None:
    with pytest.raises(ModelError, match=r"labels of shape \(\), the stream's have shape \(10,\); send class numbers"):
        check_fit(DIGITS, Shapes((8, 8), (10,)))


def test_class_numbers_do_not_fit_a_one_hot_loss() -> None:
    model = describe([8, 8], [10], "categorical_crossentropy")
    check_fit(model, Shapes((8, 8), (10,)))
    with pytest.raises(ModelError, match=r"labels of shape \(10,\), the stream's have shape \(\)"):
        check_fit(model, Shapes((8, 8)))


def test_scalar_labels_fit_a_model_of_one_output() -> None:
    check_fit(describe([3], [1], "mean_squared_error"), Shapes((3,)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_labels_that_are_classes_pass_in_any_type(dtype: type) -> None:
    check_labels(DIGITS, np.arange(10).astype(dtype))
    check_labels(DIGITS, np.arange(10).astype(dtype).reshape(-1, 1))


@pytest.mark.parametrize("wrong", [10, -1, 255, 2.5, float("nan"), float("inf")])
def test_a_label_outside_the_classes_is_named_with_its_record(wrong: float) -> None:
    labels = np.array([0, 9, 1, wrong, wrong])
    message = (
        rf"label {wrong}.* of record 3 is no class of model 'mine', "
        r"which has classes 0 to 9 \(2 of 5 records are wrong\)"
    )
    with pytest.raises(ModelError, match=message):
        check_labels(DIGITS, labels)


def test_labels_of_many_values_are_all_looked_at() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[1, 3, 3] = 10
    with pytest.raises(ModelError, match="label 10 of record 1"):
        check_labels(describe([4, 4], [4, 4, 10]), labels)


def test_a_model_without_classes_takes_any_label() -> None:
    check_labels(describe([3], [1], "mean_squared_error"), np.array([-5.5, 1e6]))
