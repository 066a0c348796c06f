"""How a live run begins: its plan waits for announcements, and says where each client's stream begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from fedstream.errors import RunError, TopicError
from fedstream.record.offsets import OffsetRange, format_ranges, unite
from fedstream.record.run import MatchedClient
from fedstream.record.spec import RunSpec
from fedstream.record.stream import Beginning, Stream
from fedstream.steps.context import Context
from fedstream.steps.retry import AGAIN_S
from fedstream.store.state import log
from fedstream.stream.broker import Broker, Brokers
from fedstream.stream.offers import Offer, Unlabelled

Matched = TypeVar("Matched")


def awaited(context: Context, spec: RunSpec, plan: Callable[[], Matched]) -> Matched:
    """Return the result of planning a run. A live run waits for announcements for as long as for new records.

    Args:
        context: The context in which the step runs.
        spec: The run.
        plan: Matches the announcements that there are, and checks whether they are enough.

    Raises:
        RunError: They were not enough in time.
    """
    deadline, told = context.deadline(spec.feed.timeout_s if spec.feed.live else 0.0), ""
    while True:
        try:
            return plan()
        except RunError as error:
            if deadline.passed:
                raise
            if told != (told := str(error)):
                log.info("waiting for announcements: %s", error)
            time.sleep(max(0.0, min(AGAIN_S, deadline.left_s)))


def live(client: MatchedClient, offer: Offer, unlabelled: Unlabelled) -> MatchedClient:
    """Return a matched client with its streams, which begin with the first announced record of each partition.

    The topics of records without labels are followed as if they were announced without offsets.
    """
    said, stream = _stream(offer.ranges, offer.online)
    others, second = _stream(unlabelled.ranges, unlabelled.online)
    update: dict[str, object] = {"ranges": said, "stream": stream}
    if others:
        update |= {"unlabelled": others, "unlabelled_stream": second.model_copy(update={"online": True})}
    return client.model_copy(update=update)


def _stream(ranges: Sequence[OffsetRange], online: Sequence[str]) -> tuple[str, Stream]:
    """Return a stream as it was announced, and where it begins."""
    firsts = {(r.topic, r.partition): r.start for r in sorted(ranges, reverse=True)}
    topics = sorted({*online, *(topic for topic, _ in firsts)})
    stream = Stream(topics=topics, online=bool(online), beginnings=_listed(firsts))
    return ",".join([*online, *([format_ranges(ranges)] if ranges else [])]), stream


def with_beginnings(brokers: Brokers, client: MatchedClient) -> MatchedClient:
    """Return a matched client of a live run whose online topics begin with the oldest record that is kept now.

    A topic that does not exist yet begins at 0.

    Raises:
        BrokerError: The client's brokers do not answer.
    """
    update, broker = {}, brokers.at(client.bootstrap_servers)
    if client.stream and client.stream.online:
        update["stream"] = _begun(broker, client.ranges, client.stream)
    if client.unlabelled_stream:
        update["unlabelled_stream"] = _begun(broker, client.unlabelled, client.unlabelled_stream)
    return client.model_copy(update=update) if update else client


def _begun(broker: Broker, said: str, stream: Stream) -> Stream:
    firsts = {(b.topic, b.partition): b.offset for b in stream.beginnings}
    for topic in (part for part in said.split(",") if ":" not in part):
        try:
            bounds = broker.bounds(topic)
        except TopicError:
            continue
        firsts |= {(topic, partition): first for partition, (first, _) in bounds.items()}
    return stream.model_copy(update={"beginnings": _listed(firsts)})


def gap_in(ranges: Sequence[OffsetRange]) -> str:
    """Return which records between announced ranges are not announced, or an empty string."""
    for before, after in pairwise(unite(ranges)):
        if (before.topic, before.partition) == (after.topic, after.partition):
            return (
                f"leaves out records {before.topic}:{before.partition}:{before.end} to {after.start - 1}, "
                "and a live run leaves none out; announce them too"
            )
    return ""


def _listed(firsts: dict[tuple[str, int], int]) -> list[Beginning]:
    return [Beginning(topic=topic, partition=p, offset=offset) for (topic, p), offset in sorted(firsts.items())]
