"""Measure a run's global models on its evaluation topic.

This happens when a model is computed, and again when the run is verified.
"""

from __future__ import annotations

from fedstream.deadline import Deadline
from fedstream.record.documents import Metrics
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.global_model import global_weights
from fedstream.store.state import RunState
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import RawRecords


def read_evaluation(broker: Broker, evaluation: MatchedClient, deadline: Deadline) -> RawRecords:
    """Return the records of the evaluation topic.

    Args:
        broker: The cluster that stores them.
        evaluation: The matched announcement of the evaluation topic.
        deadline: When to stop waiting for the records and reading them.

    Raises:
        StreamError: Some records are missing or cannot be read.
    """
    ranges = parse_ranges(evaluation.ranges)
    broker.wait_for_data(ranges, deadline.left_s)
    return broker.read_ranges(ranges, max(1.0, deadline.left_s), get_codec(evaluation.format).record_size)


def measure_on(context: Context, state: RunState, round: int, weights_digest: str, records: RawRecords) -> Metrics:
    """Measure the global model of a round on records of the evaluation topic.

    This loads the model's library.

    Args:
        context: The context in which the step runs.
        state: The run.
        round: Number of the round that produced the model.
        weights_digest: SHA-256 of the model's weights.
        records: Records of the evaluation topic.

    Raises:
        CorruptObject: The weights in the store do not match the digest.
        RecordError: A record does not decode as announced.
    """
    evaluation = state.record.evaluation
    assert evaluation is not None
    samples, labels = decode_in_order(state.record, evaluation, records)
    return context.learner(state).measure(global_weights(context, state, round, weights_digest), samples, labels)
