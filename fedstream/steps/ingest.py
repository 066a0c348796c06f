"""ingest_from_kafka: wait for a client's records, validate them, and fix the slice of this round.

The client trains on this slice. The records stay in Kafka.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedstream.catalog.models import read_description
from fedstream.errors import ObjectConflict
from fedstream.model.compatibility import check_labels
from fedstream.record.documents import CLASSES, SliceDoc, SliceRange
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange
from fedstream.record.placement import Placement
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.feeding import ranges_of
from fedstream.steps.refusal import refusing
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.steps.withdrawals import check_offered
from fedstream.store.state import RunState, log
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import RawRecords


class Ingested(NamedTuple):
    """What local_train needs: the slice, and the placement of the training pod.

    Attributes:
        slice_key: Key of the slice; empty if the client cannot take part in this round.
        node_selector: Node labels of the client's training pod.
        tolerations: Tolerations of the training pod.
        gpu_type: Resource name of the pod's accelerators; empty for none.
        gpu_count: Number of accelerators.
        store_secret: Kubernetes secret with the store credentials of the training pod.
    """

    slice_key: str
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    gpu_type: str
    gpu_count: str
    store_secret: str


NOTHING = Ingested("", {}, [], "", "0", "")


@step
def ingest_from_kafka(
    context: Context, run: str, round: int, client: str, attempt: str, store_secret: str = ""
) -> Ingested:
    """Write the client's slice for this round, and return its placement and the name of its secret.

    A client that has already finished the round, or that cannot take part, gets no placement and no secret of its own,
    so that its pod waits for neither.

    Args:
        context: The context in which the step runs.
        run: Name of the run.
        round: Number of the round.
        client: Name of the client.
        attempt: Id of this submission.
        store_secret: Kubernetes secret with the clients' store credentials, for clients whose site names none.
    """
    state = context.run(run)
    key = state.keys.at(round).slice(client)
    if state.finished(round, client):
        return NOTHING._replace(slice_key=key, store_secret=store_secret)
    with refusing(state, round, client, attempt, "ingest"):
        check_offered(context, state, client)
        document = _slice(context, state, round, state.record.client(client))
        _write(state, round, document)
        log.info("round %d: client %s has %d records (%s)", round, client, document.records, document.digest[:12])
        spec = state.spec
        return _placed(key, spec.placement_of(client), spec.store_secret_of(client) or store_secret)
    return NOTHING._replace(store_secret=store_secret)


def _slice(context: Context, state: RunState, round: int, client: MatchedClient) -> SliceDoc:
    broker, deadline = context.broker_of(state, client.client), context.deadline(state.spec.round_deadline_s)
    ranges = ranges_of(state, round, client.client)
    if validated := _validated_before(state, round, client.client, ranges):
        patiently(deadline, lambda _: broker.check_retention(ranges))
        return validated
    patiently(deadline, lambda left_s: broker.wait_for_data(ranges, left_s))
    size = get_codec(client.format).record_size
    records = patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size))
    _, labels = decode_in_order(state.record, client, records)
    check_labels(read_description(state.store, state.record.model.name, state.record.model.keras_digest), labels)
    document = describe_slice(client, records, labels)
    context.records.put(context.slice_id(document), records)
    return document


def describe_slice(client: MatchedClient, records: RawRecords, labels: NDArray[Any]) -> SliceDoc:
    """Return the document of a slice: the client's plan, and what was read from Kafka.

    Args:
        client: The client as planned.
        records: The records that were read.
        labels: Labels of the records, shape (n,) or (n, 1), with the run's class numbers.
    """
    return SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=[SliceRange(topic=r.topic, partition=r.partition, start=r.start, end=r.end) for r in records.ranges],
        records=len(records),
        input_format=client.input_format,
        input_config=client.input_config,
        class_counts=_class_counts(labels),
        digest=records.digest,
    )


def _write(state: RunState, round: int, document: SliceDoc) -> None:
    try:
        state.put_new(state.keys.at(round).slice(document.client), document)
    except ObjectConflict:
        # Another version of fedstream may have written the same slice with fewer fields.
        if state.slice(round, document.client) != document:
            raise


def _class_counts(labels: NDArray[Any]) -> dict[str, int]:
    """Return the number of records of each label.

    With more than CLASSES distinct labels, they are measurements rather than classes, and the result is empty.
    """
    values, counts = np.unique(labels, return_counts=True)
    return (
        {str(value): int(count) for value, count in zip(values, counts, strict=True)} if len(values) <= CLASSES else {}
    )


def _validated_before(state: RunState, round: int, client: str, ranges: list[OffsetRange]) -> SliceDoc | None:
    """Return the client's latest slice with these offsets, or None.

    The records at these offsets never change, and local_train checks the digest of what it reads.
    """
    planned = state.record.client(client)
    asked = (
        number
        for number in range(round - 1, 0, -1)
        if any(entry.client == client for entry in state.ledger.commit(number).clients)
    )
    earlier = (state.slice(number, client) for number in asked)
    return next(
        (
            document
            for document in earlier
            if document and document.offsets == ranges and not why_not_planned(document, planned)
        ),
        None,
    )


def _placed(key: str, placement: Placement, store_secret: str) -> Ingested:
    return Ingested(
        key, placement.node_selector, placement.tolerations, placement.gpu_type, str(placement.gpu_count), store_secret
    )
