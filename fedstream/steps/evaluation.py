"""Measure a run's global models on its evaluation topic.

This happens when a model is computed, and again when the run is verified.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from fedstream.aggregation.outcome import combine_updates
from fedstream.aggregation.updates import Updates
from fedstream.deadline import Deadline
from fedstream.errors import UpdateError
from fedstream.record.commit import Commit
from fedstream.record.documents import Metrics
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.weights import from_bytes
from fedstream.steps.aggregation import read_round
from fedstream.steps.context import Context
from fedstream.steps.exchange import downloads_of
from fedstream.steps.global_model import global_weights
from fedstream.steps.preprocessing import decode
from fedstream.store.state import RunState
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
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
    weights = global_weights(context, state, round, weights_digest)
    return context.learner(state).measure(weights, *_decoded(state, records))


def measure_left_out(context: Context, state: RunState, commit: Commit, records: RawRecords) -> dict[str, float]:
    """Measure the global models that a round would have produced without each client's update.

    Args:
        context: The context in which the step runs.
        state: The run.
        commit: The commit of the round; only its clients and their updates are used.
        records: Records of the evaluation topic.

    Returns:
        client -> target metric of the model without it. Clients are left out without whom there is no such model,
        because the strategy needs more updates, or because it has no finite metric.

    Raises:
        CorruptObject: An update in the store does not match its digest.
    """
    base, key = state.base(commit.round).weights_digest, state.base_keys(commit.round).weights
    whole = global_weights(context, state, state.ledger.model_round(commit.round - 1), base)
    weights, learner, decoded = (
        from_bytes(context.bytes_of(key, base), key),
        context.learner(state),
        _decoded(state, records),
    )
    found = {}
    with downloads_of(state.store, state.record, weights) as downloads:
        updates, server_state = read_round(state, commit.round, weights, commit.clients, downloads)
        for left_out in (update.client for update in updates):
            with suppress(UpdateError):
                others = Updates((update for update in updates if update.client != left_out), updates.population)
                model = combine_updates(state.record.spec, weights, others, server_state).weights
                found[left_out] = learner.measure(whole | model, *decoded).values.get(state.spec.target_metric)
    return {client: value for client, value in found.items() if value is not None}


def _decoded(state: RunState, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
    assert state.record.evaluation is not None
    return decode(state, state.record.evaluation, records)
