"""Predict with a model, for serving: one graph for batches of every size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import ModelError, RecordError
from fedstream.model._tensorflow import KerasModel, tensorflow
from fedstream.model.inputs import as_inputs, input_specs, to_tensors, zero_inputs
from fedstream.model.outputs import first_loss, result

Predict = Callable[[NDArray[Any]], NDArray[Any]]
"""Samples (n, *input_shape) of numbers or texts, or with a field for each input -> predictions of the last output
(n, *output_shape).
"""

BATCH = 512
"""Maximum number of records whose classes are predicted at once."""


def predictor(model: KerasModel) -> Predict:
    """Return a function that predicts; its graph is traced here, so that the first batch does not wait for it.

    The function raises RecordError for invalid values in the samples, such as an index outside an embedding, and
    ModelError for all other failures.

    Args:
        model: Keras model.
    """
    tf = tensorflow()
    graph = tf.function(lambda x: result(model(x, training=False)), input_signature=[input_specs(model)])

    def predict(samples: NDArray[Any]) -> NDArray[Any]:
        try:
            return np.asarray(graph(as_inputs(model, to_tensors(samples))).numpy())
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            raise RecordError(f"the model cannot take its values ({_first_line(error)})") from error
        except tf.errors.OpError as error:
            raise ModelError(f"the model fails on a batch of {len(samples)} records: {_first_line(error)}") from error

    graph(zero_inputs(model, 1))
    return predict


def class_probabilities(model: KerasModel) -> Predict:
    """Return a function that maps samples (n, *input_shape) to the probability of each class, shape (n, classes).

    Args:
        model: Compiled Keras model that tells the classes of records apart: its output is a vector of as many values as
            there are classes, or one value for two classes; these are logits if the loss says so.
    """
    predict, logits = predictor(model), _has_logits(model)

    def probabilities(samples: NDArray[Any]) -> NDArray[Any]:
        parts = [predict(samples[first : first + BATCH]) for first in range(0, len(samples), BATCH)]
        found = np.concatenate(parts).astype(np.float64)
        if found.shape[1] == 1:
            positive = 1 / (1 + np.exp(-found)) if logits else found
            return np.concatenate([1 - positive, positive], axis=1)
        powers = np.exp(found - found.max(axis=1, keepdims=True)) if logits else found
        return np.asarray(powers / powers.sum(axis=1, keepdims=True) if logits else found)

    return probabilities


def _has_logits(model: KerasModel) -> bool:
    loss = first_loss(model)
    return not isinstance(loss, str) and bool(loss.get_config().get("from_logits"))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
