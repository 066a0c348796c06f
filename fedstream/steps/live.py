"""Wait for the new records of a live run's clients.

What a client offers is read from the control topic again, so that later announcements and withdrawals take effect.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fedstream.catalog.models import read_description
from fedstream.deadline import Deadline
from fedstream.errors import AnnouncementError, BrokerAway, DeadlineError, FedstreamError, StreamError, TopicError
from fedstream.model.split import split_mask
from fedstream.record.description import ModelDescription
from fedstream.record.offsets import OffsetRange, unite
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.steps.admission import Heard, why_not
from fedstream.steps.context import Context
from fedstream.steps.feeding import unlabelled_ranges_of, used_before
from fedstream.steps.naming import features_of
from fedstream.steps.retry import AGAIN_S, patiently
from fedstream.steps.withdrawals import unconfirmed
from fedstream.store.state import RunState, log
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement, parse_data_announcement
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.feed import feed_of
from fedstream.stream.offers import gather

CHUNK = 4_096
"""Records whose part, held out or not, is computed at once; nearly always the first of them decides."""


def new_records(context: Context, state: RunState, round: int, client: str, deadline: Deadline) -> list[OffsetRange]:
    """Wait for a client's new records, and return the ranges that it gets in a round.

    Raises:
        DeadlineError: There were too few new records by the deadline.
        AnnouncementError: The client withdrew its stream, or left records out.
        BrokerError: The brokers do not answer, or refuse access.
    """
    while True:
        found = patiently(deadline, lambda left_s: _found(context, state, round, client, left_s))
        if found:
            return found
        if deadline.passed:
            raise DeadlineError(why_none(state.record.spec))
        time.sleep(max(0.0, min(AGAIN_S, deadline.left_s)))


def new_unlabelled(context: Context, state: RunState, round: int, client: str, deadline: Deadline) -> list[OffsetRange]:
    """Return the next ranges of records without labels that a client gets in a round, of those that are there now.

    Raises:
        BrokerError: The brokers do not answer, or refuse access.
    """
    stream, broker = state.record.client(client).unlabelled_stream, context.broker_of(state, client)

    def there() -> list[OffsetRange]:
        return [
            OffsetRange(topic, partition, 0, end)
            for topic in (stream.topics if stream else [])
            for partition, (_, end) in _bounds(broker, topic).items()
            if end
        ]

    return patiently(deadline, lambda _: unlabelled_ranges_of(state, round, client, there))


def why_none(spec: RunSpec) -> str:
    """Return the reason of a client, or a submission, without new records."""
    few = f"fewer than {spec.feed.at_least:,}" if spec.feed.at_least > 1 else "no"
    return f"{few} new records within {spec.feed.timeout_s:g} s"


def await_any(context: Context, state: RunState, round: int, clients: Sequence[str]) -> bool:
    """Wait until one of the clients of a round has new records, and return whether one has.

    A client whose stream has another problem counts too: its own step finds the reason, and puts it on record.
    """
    deadline = context.deadline(state.spec.feed.timeout_s)
    while True:
        if any(_has_work(context, state, round, client, deadline) for client in clients):
            return True
        if deadline.passed:
            return False
        time.sleep(max(0.0, min(AGAIN_S, deadline.left_s)))


def _has_work(context: Context, state: RunState, round: int, client: str, deadline: Deadline) -> bool:
    if state.slice(round, client):
        return True
    try:
        return bool(_found(context, state, round, client, max(1.0, deadline.left_s)))
    except BrokerAway as error:
        log.warning("waiting for the broker of %s: %s", client, error)
        return deadline.passed
    except StreamError:
        return True


def _found(context: Context, state: RunState, round: int, client: str, deadline_s: float) -> list[OffsetRange]:
    """Return the ranges that a client would get now; none if they are too few, or if all of them are held out."""
    spec, planned = state.record.spec, state.record.client(client)
    ranges = feed_of(spec).ranges(
        planned,
        round,
        lambda: used_before(state, round, client),
        lambda: _offered(context, state, planned, deadline_s),
    )
    return ranges if _trainable(spec, planned, ranges) else []


def _trainable(spec: RunSpec, client: MatchedClient, ranges: Sequence[OffsetRange]) -> bool:
    """Return whether a slice has a record that is not held out. One that has none could never become an update."""
    for r in ranges:
        for start in range(r.start, r.end, CHUNK):
            offsets = np.arange(start, min(r.end, start + CHUNK), dtype=np.int64)
            if not split_mask(spec.seed, np.full(len(offsets), r.partition), offsets, client.held_out_rate).all():
                return True
    return False


def _offered(context: Context, state: RunState, client: MatchedClient, deadline_s: float) -> list[OffsetRange]:
    """Return the ranges that a client offers now, as far as their records are in the topics."""
    broker = context.broker_of(state, client.client)
    model = read_description(state.store, state.record.model.name, state.record.model.keras_digest)
    offer = gather([*_planned(client), *_announced(state.record.spec, model, client, broker, deadline_s)], "all")
    if offer.newest is None:
        raise AnnouncementError(f"{client.client} withdrew its stream; announce it again to go on")
    assert client.stream is not None
    found = []
    for topic in client.stream.topics:
        bounds = _bounds(broker, topic)
        found += [OffsetRange(topic, p, 0, end) for p, (_, end) in bounds.items() if topic in offer.online and end]
        found += [
            OffsetRange(topic, r.partition, r.start, min(r.end, bounds[r.partition][1]))
            for r in offer.ranges
            if r.topic == topic and r.partition in bounds and r.start < bounds[r.partition][1]
        ]
    return unite(found)


def _bounds(broker: Broker, topic: str) -> dict[int, tuple[int, int]]:
    try:
        return broker.bounds(topic)
    except TopicError:  # announced before its first record
        return {}


def _planned(client: MatchedClient) -> list[DataAnnouncement]:
    """Return what a client had announced when the run was planned, which the control topic may have dropped since."""
    parts = client.ranges.split(",")
    ranges = ",".join(part for part in parts if ":" in part)
    return [_as_planned(client, topic) for topic in [*(part for part in parts if ":" not in part), ranges] if topic]


def _as_planned(client: MatchedClient, topic: str) -> DataAnnouncement:
    return DataAnnouncement(
        topic=topic,
        input_format=client.input_format,
        input_config=client.input_config,
        client=client.client,
        features=client.features,
        classes=client.classes,
        total_msg=None,
    )


def _announced(
    spec: RunSpec, model: ModelDescription, client: MatchedClient, broker: Broker, deadline_s: float
) -> list[DataAnnouncement]:
    """Return a client's announcements and withdrawals on the control topic that fit the plan, oldest first."""
    heard, found = broker.read_announcements(DATA_CONTROL_TOPIC, deadline_s), []
    refused = unconfirmed(broker, heard, Deadline.after(deadline_s)) if spec.own_topics else set()
    for number, (partition, offset, data) in enumerate(heard):
        if number in refused:
            continue
        try:
            said = parse_data_announcement(data)
            if said.client == client.client and _fits(
                spec, model, client, Heard(client.bootstrap_servers, partition, offset, data), said
            ):
                found.append(said if said.withdrawn else _as_planned(client, said.topic))
        except FedstreamError:
            continue
    return found


def _fits(spec: RunSpec, model: ModelDescription, client: MatchedClient, heard: Heard, said: DataAnnouncement) -> bool:
    if why_not(spec, model, heard, said, for_evaluation=False):
        return False
    if said.withdrawn:
        return True
    codec = get_codec(said.format)
    assert client.stream is not None
    return said.topics <= set(client.stream.topics) and (
        (said.input_format, codec.config(), features_of(said, codec), said.classes)
        == (client.input_format, client.input_config, client.features, client.classes)
    )
