"""Predict records, from bytes to bytes. A record that cannot be predicted does not affect the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.serving.versions import Served


def answers(served: Served, values: Sequence[bytes | None]) -> list[bytes | RecordError]:
    """Return the prediction for each record's value as JSON, or why there is none.

    Raises:
        ModelError: The model fails for a reason that does not lie in the records.
    """
    samples: list[NDArray[Any] | RecordError] = []
    for value in values:
        try:
            samples.append(served.codec.decode_sample(value))
        except RecordError as error:
            samples.append(error)
    predictions = iter(_predictions(served, [sample for sample in samples if not isinstance(sample, RecordError)]))
    return [sample if isinstance(sample, RecordError) else next(predictions) for sample in samples]


def _predictions(served: Served, samples: list[NDArray[Any]]) -> list[bytes | RecordError]:
    if not samples:
        return []
    try:
        return [_as_json(values) for values in served.predict(np.stack(samples))]
    except RecordError as error:
        if len(samples) == 1:
            return [error]
    return [prediction for sample in samples for prediction in _predictions(served, [sample])]


def _as_json(values: NDArray[Any]) -> bytes | RecordError:
    """Return a prediction in the format of Kafka-ML."""
    if not np.isfinite(values).all():
        return RecordError("its prediction is not finite, which JSON cannot represent")
    return json.dumps({"values": values.tolist()}).encode()
