"""ingest_from_kafka: wait for a client's records, validate them, and fix the slice it trains on in this round. Records stay in Kafka."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedstream.catalog.models import read_description
from fedstream.model.compatibility import check_labels
from fedstream.record.documents import CLASSES, SliceDoc, SliceRange
from fedstream.record.judge import why_not_planned
from fedstream.record.offsets import parse_ranges
from fedstream.record.run import MatchedClient
from fedstream.record.spec import Placement
from fedstream.steps.context import Context
from fedstream.steps.refusal import refusing
from fedstream.steps.retry import patiently
from fedstream.steps.runtime import step
from fedstream.store.state import RunState, log
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order


class Ingested(NamedTuple):
    """What local_train needs: the slice, and where to run.

    Attributes:
        slice_key: key of the slice; empty if the client cannot take part in this round.
        node_selector: node labels of the client's training pod.
        tolerations: its tolerations.
        gpu_type: its accelerator's resource name; empty for none.
        gpu_count: how many of it.
        store_secret: Kubernetes secret with the key that its training pod uses for the store.
    """

    slice_key: str
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    gpu_type: str
    gpu_count: str
    store_secret: str


NOTHING = Ingested("", {}, [], "", "0", "")


@step
def ingest_from_kafka(context: Context, run: str, round: int, client: str, attempt: str, store_secret: str = "") -> Ingested:
    """Write the client's slice for this round, and hand on its placement and the name of its secret.

    A client whose update is there already, or that cannot take part, gets no placement and no secret of its own, so that it waits for neither.

    Args:
        context: where the step works.
        run: name of the run.
        round: number of the round.
        client: name of the client.
        attempt: id of this submission.
        store_secret: Kubernetes secret with the clients' key for the store, for those whose site names none.
    """
    state = context.run(run)
    key = state.keys.at(round).slice(client)
    if state.finished(round, client):
        return NOTHING._replace(slice_key=key, store_secret=store_secret)
    with refusing(state, round, client, attempt, "ingest"):
        document = _slice(context, state, round, state.record.client(client))
        state.store.put_new_json(key, document.model_dump(mode="json"))
        log.info("round %d: client %s has %d records (%s)", round, client, document.records, document.digest[:12])
        spec = state.record.spec
        return _placed(key, spec.placement_of(client), spec.store_secret_of(client) or store_secret)
    return NOTHING._replace(store_secret=store_secret)


def _slice(context: Context, state: RunState, round: int, client: MatchedClient) -> SliceDoc:
    broker, deadline = context.broker_of(state, client.client), time.monotonic() + state.record.spec.round_deadline_s
    ranges = parse_ranges(client.ranges)
    if validated := _validated_before(state, round, client.client):
        patiently(deadline, lambda _: broker.check_retention(ranges))
        return validated
    patiently(deadline, lambda left_s: broker.wait_for_data(ranges, left_s))
    size = get_codec("RAW", client.input_config).record_size
    records = patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size))
    _, labels = decode_in_order(state.record, client, records)
    check_labels(read_description(state.store, state.record.model.name, state.record.model.keras_digest), labels)
    document = SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=[SliceRange(topic=r.topic, partition=r.partition, start=r.start, end=r.end) for r in ranges],
        records=len(records),
        input_config=client.input_config,
        class_counts=_class_counts(labels),
        digest=records.digest,
    )
    context.records.put(context.slice_id(document), records)
    return document


def _class_counts(labels: NDArray[Any]) -> dict[str, int]:
    """Return label -> records; nothing where there are so many that they are measurements, no classes."""
    values, counts = np.unique(labels, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)} if len(values) <= CLASSES else {}


def _validated_before(state: RunState, round: int, client: str) -> SliceDoc | None:
    """Return the client's last slice: announced offsets never change, and local_train checks the digest of what it reads."""
    earlier = (state.slice(number, client) for number in range(round - 1, 0, -1))
    return next((document for document in earlier if document and not why_not_planned(document, state.record.client(client))), None)


def _placed(key: str, placement: Placement, store_secret: str) -> Ingested:
    return Ingested(key, placement.node_selector, placement.tolerations, placement.gpu_type, str(placement.gpu_count), store_secret)
