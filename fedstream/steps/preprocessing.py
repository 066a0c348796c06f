"""A run's preprocessing, with its constants: the same wherever records meet the model."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from fedstream.errors import RunError
from fedstream.preprocessing.resolve import Constants
from fedstream.preprocessing.transform import Transform, resolve, resolve_fields
from fedstream.record.run import MatchedClient
from fedstream.store.state import RunState
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import RawRecords


def decode(state: RunState, client: MatchedClient, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a client's samples and labels as the run's model takes them.

    Args:
        state: The run.
        client: The client that owns the records, or the announcement of the evaluation topic.
        records: The records as read.

    Raises:
        RecordError: A record does not decode as announced, or a label is not a class.
    """
    x, y = decode_in_order(state.record, client, records)
    transform = transform_of(state, client)
    return transform.samples(x), transform.labels(y)


def transform_of(state: RunState, client: MatchedClient) -> Transform:
    """Return what the run does to a client's decoded records before they reach the model."""
    preprocessing, codec = state.record.spec.preprocessing, get_codec(client.format)
    constants = constants_of(state) if preprocessing.standardises else None
    if codec.data_dtype.names:
        return resolve_fields(preprocessing, codec.data_dtype, constants)
    return resolve(preprocessing, codec.data_shape, state.record.features, constants)


def published_transform(state: RunState) -> Transform | None:
    """Return what the published model does to raw records itself; None if it takes records as they are sent."""
    return transform_of(state, state.record.clients[0]) if state.record.spec.preprocessing.steps else None


def constants_of(state: RunState) -> Constants:
    """Return the mean and the standard deviation of each feature, from the run's statistics.

    A feature without values has none to change.

    Raises:
        CorruptObject: The statistics are not those that the commit of round 0 names.
        RunError: That commit names no statistics.
    """
    if state.statistics is None:
        raise RunError(f"run {state.run!r} has no statistics; run `fedstream verify {state.run}`")
    return {
        feature.name: (feature.mean or 0.0, math.sqrt(feature.variance or 0.0)) for feature in state.statistics.features
    }
