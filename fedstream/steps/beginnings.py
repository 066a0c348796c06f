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
from fedstream.stream.broker import Brokers
from fedstream.stream.offers import Offer

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


def live(client: MatchedClient, offer: Offer) -> MatchedClient:
    """Return a matched client with its stream, which begins with the first announced record of each partition."""
    firsts = {(r.topic, r.partition): r.start for r in sorted(offer.ranges, reverse=True)}
    stream = Stream(
        topics=sorted({*offer.online, *(topic for topic, _ in firsts)}),
        online=bool(offer.online),
        beginnings=_listed(firsts),
    )
    said = ",".join([*offer.online, *([format_ranges(offer.ranges)] if offer.ranges else [])])
    return client.model_copy(update={"ranges": said, "stream": stream})


def with_beginnings(brokers: Brokers, client: MatchedClient) -> MatchedClient:
    """Return a matched client of a live run whose online topics begin with the oldest record that is kept now.

    A topic that does not exist yet begins at 0.

    Raises:
        BrokerError: The client's brokers do not answer.
    """
    stream = client.stream
    if stream is None or not stream.online:
        return client
    broker = brokers.at(client.bootstrap_servers)
    firsts = {(b.topic, b.partition): b.offset for b in stream.beginnings}
    for topic in (part for part in client.ranges.split(",") if ":" not in part):
        try:
            bounds = broker.bounds(topic)
        except TopicError:
            continue
        firsts |= {(topic, partition): first for partition, (first, _) in bounds.items()}
    return client.model_copy(update={"stream": stream.model_copy(update={"beginnings": _listed(firsts)})})


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
