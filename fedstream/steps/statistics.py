"""statistics: what a client contributes to the statistics of a run.

The clients send sums and histograms in round 0, before the initial model is committed, and nothing else leaves them.
"""

from __future__ import annotations

import math

from fedstream.errors import ObjectConflict, SpecError
from fedstream.model.examples import Examples
from fedstream.privacy.keys import noise_key
from fedstream.privacy.normals import Normals
from fedstream.privacy.secret import required_secret
from fedstream.record.canonical import sha256_hex
from fedstream.record.names import MOST_NAMES
from fedstream.record.preprocessing import feature_names
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.record.spec import RunSpec
from fedstream.record.statistics import ClientStatistics, FeatureSums
from fedstream.statistics.measure import NUMBERS, count_classes, measure
from fedstream.statistics.noise import noised
from fedstream.steps.context import Context
from fedstream.steps.feeding import ranges_of
from fedstream.steps.refusal import refusing, why_refused
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.steps.slices import SliceRecords, examples_of, read_slice
from fedstream.steps.slicing import describe_slice
from fedstream.steps.withdrawals import check_offered
from fedstream.store.state import RunState, log
from fedstream.stream.codec import get_codec
from fedstream.stream.records import RawRecords

FIRST = 1
"""The round whose records are described: the first one that trains."""


@step
def statistics(context: Context, run: str, client: str, attempt: str) -> str:
    """Write what a client contributes to the statistics of a run, and return one line about it.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        client: Name of the client.
        attempt: Id of this submission; a refusal goes on record under it.
    """
    return gather_statistics(context, run, client, attempt)


def gather_statistics(context: Context, run: str, client: str, attempt: str) -> str:
    """Do the work of `statistics`."""
    state = context.run(run)
    key = state.keys.at(0).statistics_of(client)
    if state.store.exists(key):
        return f"{client}: had already sent its statistics"
    with refusing(state, 0, client, attempt, "statistics"):
        check_offered(context, state, client)
        document = _measured(context, state, state.record.client(client))
        try:
            state.put_new(key, document)
        except ObjectConflict:
            log.info("another submission has gathered the statistics of client %s; its statistics count", client)
        line = f"{client}: statistics of {document.records} records and {len(document.features)} features"
        log.info(line)
        return line
    return f"{client}: sends no statistics: {why_refused(state, 0, client, attempt)}"


def _measured(context: Context, state: RunState, client: MatchedClient) -> ClientStatistics:
    broker, deadline = context.broker_of(state, client.client), context.deadline(state.spec.round_deadline_s)
    ranges = ranges_of(state, FIRST, client.client)
    patiently(deadline, lambda left_s: broker.wait_for_data(ranges, left_s))
    records = read_slice(broker, state.record, client, ranges, [], deadline).labelled
    key = _noise_key(context, state, client, records) if state.record.spec.statistics.noise_multiplier else None
    document = describe_statistics(state.record, client, records, key)
    context.records.put(context.slice_id(document.slice), records)
    return document


def describe_statistics(
    record: RunRecord, client: MatchedClient, records: RawRecords, key: bytes | None = None
) -> ClientStatistics:
    """Return what a client contributes, as its records determine it.

    Args:
        record: The record of the run.
        client: The client as planned.
        records: The records that were read.
        key: Key of the noise; None for none.
    """
    examples = examples_of(record, client, SliceRecords(records))
    x, y, trained = examples.x, examples.y, ~examples.held_out
    asked, features, counts = record.spec.statistics, list[FeatureSums](), dict[str, int]()
    if trained.sum() >= asked.min_records:
        if key:
            sizes = features_in(client, record.features)
            features = noised(x[trained], record.features, asked, sizes, Normals(key))
        else:
            features = measure(x[trained], record.features)
            counts = count_classes(y[trained]) if y.size == len(y) else {}
    nothing = Examples(x[:0], y[:0], trained[:0])  # a slice on record says more about its records
    return ClientStatistics(
        run=record.spec.run,
        slice=describe_slice(record.spec, client, SliceRecords(records), nothing),
        records=int(trained.sum()),
        features=features,
        class_counts=counts,
    )


def _noise_key(context: Context, state: RunState, client: MatchedClient, records: RawRecords) -> bytes:
    secret = required_secret(context.noise_secret(), f"the noise of the statistics of run {state.run!r}")
    spec_digest = sha256_hex(state.store.get(state.keys.spec))
    return noise_key(secret, state.run, 0, client.client, spec_digest, records.digest)


def features_in(client: MatchedClient, names: list[str]) -> dict[str, int]:
    """Return the features of a client's records, and the number of values that a record has of each.

    Args:
        client: The client as planned.
        names: Names of the run's columns; empty if they have none.
    """
    codec = get_codec(client.format)
    if own := codec.data_dtype.names:
        fields = {name: codec.data_dtype[name].subdtype or (codec.data_dtype[name], ()) for name in own}
        return {name: math.prod(shape) for name, (base, shape) in fields.items() if base.kind in NUMBERS}
    features = feature_names(codec.data_shape, names)
    return dict.fromkeys(features, math.prod(codec.data_shape) // len(features))


def check_statistics(spec: RunSpec, client: MatchedClient, names: list[str]) -> None:
    """Check that the statistics that a run asks for can be gathered.

    Args:
        spec: The run.
        client: A client as planned.
        names: Names of the run's columns; empty if they have none.

    Raises:
        SpecError: The records have too many features, or the bounds are not those of the features.
    """
    features, bounds = features_in(client, names), spec.statistics.bounds
    if spec.gathers_statistics and len(features) > MOST_NAMES:
        raise SpecError(
            f"statistics: the records have {len(features):,} features, and statistics of at most {MOST_NAMES:,} can be "
            "gathered; send records of several dimensions, which are one feature"
        )
    if bounds and bounds.keys() != features.keys():
        wrong = min(bounds.keys() ^ features.keys())
        raise SpecError(
            f"statistics: with noise, each feature needs bounds, and feature {wrong!r} "
            f"{'has none' if wrong in features else 'does not exist'}"
        )
