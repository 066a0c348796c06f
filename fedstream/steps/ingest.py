"""ingest_from_kafka: wait for a client's records, validate them, and fix the slice of this round.

The client trains on this slice. The records stay in Kafka.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from fedstream.catalog.models import read_description
from fedstream.errors import ObjectConflict
from fedstream.model.compatibility import check_labels
from fedstream.record.documents import SliceDoc, offsets_of
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import OffsetRange
from fedstream.record.placement import Placement
from fedstream.record.run import MatchedClient
from fedstream.steps.context import Context
from fedstream.steps.feeding import ranges_of, unlabelled_ranges_of, why_unexpected
from fedstream.steps.live import new_records, new_unlabelled
from fedstream.steps.preprocessing import transform_of
from fedstream.steps.refusal import refusing
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.steps.slices import examples_of, read_slice
from fedstream.steps.slicing import describe_slice
from fedstream.steps.statistics import gather_statistics
from fedstream.steps.streamed import describe_stream, streaming_limit
from fedstream.steps.withdrawals import check_offered
from fedstream.store.state import RunState, log
from fedstream.stream.bounds import SliceTooLarge, shown


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
        if not state.spec.feed.live:  # a live run follows what the client announces and withdraws
            check_offered(context, state, client)
        document = _slice(context, state, round, state.record.client(client))
        _write(state, round, document)
        log.info("round %d: client %s has %d records (%s)", round, client, document.records, document.digest[:12])
        spec = state.spec
        return _placed(key, spec.placement_of(client), spec.store_secret_of(client) or store_secret)
    return NOTHING._replace(store_secret=store_secret)


def _slice(context: Context, state: RunState, round: int, client: MatchedClient) -> SliceDoc:
    broker, deadline = context.broker_of(state, client.client), context.deadline(state.spec.round_deadline_s)
    (ranges, unlabelled), validated = _assigned(context, state, round, client.client)
    if validated:
        patiently(deadline, lambda _: broker.check_retention([*ranges, *unlabelled]))
        return validated
    patiently(deadline, lambda left_s: broker.wait_for_data([*ranges, *unlabelled], left_s))
    model = read_description(state.store, state.record.model.name, state.record.model.keras_digest)

    def check(labels: NDArray[Any]) -> None:
        transform_of(state, client).labels(labels)  # raises what local_train would
        check_labels(model, labels)

    try:
        limit = streaming_limit(state.record, client)
        read = read_slice(broker, state.record, client, ranges, unlabelled, deadline, limit)
    except SliceTooLarge:
        document, blocks = describe_stream(broker, state.record, client, ranges, deadline, check)
        context.blocks.put(context.slice_id(document), blocks)
    else:
        examples = examples_of(state.record, client, read)
        check(examples.y)
        document = describe_slice(state.record.spec, client, read, examples)
        context.records.put(context.slice_id(document), read.labelled)
        if read.unlabelled:
            context.records.put(context.unlabelled_id(document), read.unlabelled)
    if document.skipped:
        log.warning("client %s: skipped %s, which cannot be used", client.client, shown(offsets_of(document.skipped)))
    return document


class Assigned(NamedTuple):
    """The ranges of a slice: of records with labels, and of others."""

    labelled: list[OffsetRange]
    unlabelled: list[OffsetRange]


def _assigned(context: Context, state: RunState, round: int, client: str) -> tuple[Assigned, SliceDoc | None]:
    """Return the ranges of a client's slice, and its document if these records were validated before.

    A slice of new records that a killed or failed attempt has left is kept: more records have come since then, and they
    wait for the next round.
    """
    spec = state.spec
    if not (spec.feed.live and state.selection(round).kind == "training"):
        assigned = Assigned(ranges_of(state, round, client), unlabelled_ranges_of(state, round, client))
        return assigned, _validated_before(state, round, client, *assigned)
    known = state.slice(round, client)
    if known and not why_unexpected(state, round, known, client):
        return Assigned(known.fed, known.unlabelled_fed), known
    deadline = context.deadline(spec.feed.timeout_s)
    labelled = new_records(context, state, round, client, deadline)
    return Assigned(labelled, new_unlabelled(context, state, round, client, deadline)), None


def _write(state: RunState, round: int, document: SliceDoc) -> None:
    try:
        state.put_new(state.keys.at(round).slice(document.client), document)
    except ObjectConflict:
        # Another version of fedstream may have written the same slice with fewer fields.
        if state.slice(round, document.client) != document:
            raise


def _validated_before(
    state: RunState, round: int, client: str, ranges: list[OffsetRange], unlabelled: list[OffsetRange]
) -> SliceDoc | None:
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
            if document
            and (document.fed, document.unlabelled_fed) == (ranges, unlabelled)
            and not why_not_planned(document, planned)
        ),
        None,
    )


def _placed(key: str, placement: Placement, store_secret: str) -> Ingested:
    return Ingested(
        key, placement.node_selector, placement.tolerations, placement.gpu_type, str(placement.gpu_count), store_secret
    )
