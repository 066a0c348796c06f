"""ingest_from_kafka: wait for a client's records, validate them, and fix the slice of this round.

The client trains on this slice. The records stay in Kafka.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fedstream.catalog.models import read_description
from fedstream.deadline import Deadline
from fedstream.errors import ObjectConflict, WithdrawnError
from fedstream.model.compatibility import check_labels
from fedstream.record.documents import SliceDoc
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange
from fedstream.record.placement import Placement
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.feeding import ranges_of
from fedstream.steps.preprocessing import transform_of
from fedstream.steps.reading import read_usable
from fedstream.steps.refusal import refusing
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.steps.slicing import describe_slice
from fedstream.steps.statistics import gather_statistics
from fedstream.steps.withdrawals import unconfirmed, why_withdrawn
from fedstream.store.state import RunState, log
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.bounds import shown


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

    In round 0, gather the client's statistics instead; nothing is trained.

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
    if round == 0:
        gather_statistics(context, run, client, attempt)
        return NOTHING._replace(store_secret=store_secret)
    state = context.run(run)
    key = state.keys.at(round).slice(client)
    if state.finished(round, client):
        return NOTHING._replace(slice_key=key, store_secret=store_secret)
    with refusing(state, round, client, attempt, "ingest"):
        document = _slice(context, state, round, state.record.client(client))
        _write(state, round, document)
        log.info("round %d: client %s has %d records (%s)", round, client, document.records, document.digest[:12])
        spec = state.spec
        return _placed(key, spec.placement_of(client), spec.store_secret_of(client) or store_secret)
    return NOTHING._replace(store_secret=store_secret)


def _slice(context: Context, state: RunState, round: int, client: MatchedClient) -> SliceDoc:
    broker, deadline = context.broker_of(state, client.client), context.deadline(state.spec.round_deadline_s)
    ranges = ranges_of(state, round, client.client)
    _check_offered(context, state, client.client, ranges, deadline)
    if validated := _validated_before(state, round, client.client, ranges):
        patiently(deadline, lambda _: broker.check_retention(ranges))
        return validated
    patiently(deadline, lambda left_s: broker.wait_for_data(ranges, left_s))
    records, _, labels = patiently(deadline, lambda left_s: read_usable(broker, state.record, client, ranges, left_s))
    if records.skipped:
        log.warning("client %s: skipped %s, which cannot be used", client.client, shown(records.skipped))
    transform_of(state, client).labels(labels)  # raises what local_train would
    check_labels(read_description(state.store, state.record.model.name, state.record.model.keras_digest), labels)
    document = describe_slice(client, records, labels)
    context.records.put(context.slice_id(document), records)
    return document


def _check_offered(
    context: Context, state: RunState, client: str, ranges: list[OffsetRange], deadline: Deadline
) -> None:
    """Check that the client has not withdrawn its records since the run was planned.

    Raises:
        WithdrawnError: It has. The message names the withdrawal.
        BrokerError: The control topic cannot be read.
    """
    broker = context.broker_of(state, client)
    heard = patiently(deadline, lambda left_s: broker.heard(DATA_CONTROL_TOPIC, left_s))
    reason = why_withdrawn(heard, client, ranges)
    if reason and state.spec.own_topics:
        refused = unconfirmed(broker, heard, deadline)
        reason = why_withdrawn([m for number, m in enumerate(heard) if number not in refused], client, ranges)
    if reason:
        raise WithdrawnError(reason)


def _write(state: RunState, round: int, document: SliceDoc) -> None:
    try:
        state.put_new(state.keys.at(round).slice(document.client), document)
    except ObjectConflict:
        # Another version of fedstream may have written the same slice with fewer fields.
        if state.slice(round, document.client) != document:
            raise


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
            if document and document.fed == ranges and not why_not_planned(document, planned)
        ),
        None,
    )


def _placed(key: str, placement: Placement, store_secret: str) -> Ingested:
    return Ingested(
        key, placement.node_selector, placement.tolerations, placement.gpu_type, str(placement.gpu_count), store_secret
    )
