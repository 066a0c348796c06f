"""Predict with a model, for serving: one graph for batches of every size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError, RecordError
from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.inputs import as_inputs, input_specs, to_tensors, zero_inputs

Predict = Callable[[NDArray[Any]], NDArray[Any]]
"""Samples (n, *input_shape) of numbers or texts, or with a field for each input -> predictions (n, *output_shape)."""


def predictor(model: KerasModel) -> Predict:
    """Return a function that predicts; its graph is traced here, so that the first batch does not wait for it.

    The function raises RecordError for invalid values in the samples, such as an index outside an embedding, and
    ModelError for all other failures.

    Args:
        model: Keras model with one output.
    """
    tf = tensorflow()
    graph = tf.function(lambda x: model(x, training=False), input_signature=[input_specs(model)])

    def predict(samples: NDArray[Any]) -> NDArray[Any]:
        try:
            return np.asarray(graph(as_inputs(model, to_tensors(samples))).numpy())
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            raise RecordError(f"the model cannot take its values ({_first_line(error)})") from error
        except tf.errors.OpError as error:
            raise ModelError(f"the model fails on a batch of {len(samples)} records: {_first_line(error)}") from error

    graph(zero_inputs(model, 1))
    return predict


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
