"""Predicting for serving: the values of Keras' own predict, from batches of any size."""

from __future__ import annotations

import numpy as np
import pytest

from fedstream.errors import RecordError
from fedstream.model._tensorflow import keras
from fedstream.model.builtin import build_builtin
from fedstream.model.prediction import predictor


def test_predictions_are_those_of_keras_for_every_batch_size_and_numeric_type():
    model = build_builtin("builtin:digits-mlp")
    predict = predictor(model)
    x = np.random.default_rng(0).integers(0, 16, (33, 8, 8)).astype(np.uint8)
    expected = model.predict(x.astype(np.float32), verbose=0)
    for count in (1, 2, 33):
        np.testing.assert_allclose(predict(x[:count]), expected[:count], rtol=1e-5, atol=1e-7)


def test_a_value_that_the_model_cannot_take_is_the_records_fault():
    k = keras()
    model = k.Sequential([k.Input((2,), dtype="int32"), k.layers.Embedding(4, 3), k.layers.Flatten()])
    predict = predictor(model)
    assert predict(np.array([[0, 3]])).shape == (1, 6)
    with pytest.raises(RecordError, match="the model cannot take its values"):
        predict(np.array([[0, 4]]))
