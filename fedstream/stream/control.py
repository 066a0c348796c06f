"""Read the messages of a control topic.

Anyone with write access can flood the topic, so the number of messages, their size and the time are limited.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from fedstream.errors import DeadlineError, TopicError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import MESSAGE_BYTES
from fedstream.stream.client import admin, consumer
from fedstream.stream.reader import POLL_S, bounds_of
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from kafka import KafkaConsumer

log = logging.getLogger(__name__)

CONTROL_MESSAGES = 20_000
"""Maximum number of messages that are read from each partition of a control topic.

A broker on a laptop delivers them within a second, and data owners take years to announce as many.
"""

CONTROL_BYTES = 16 * 1024 * 1024
"""Maximum number of bytes of a control topic that are parsed.

A typical announcement has 500 bytes, and planning takes seconds for this many bytes.
"""

Message = TypeVar("Message", tuple[int, int, bytes], tuple[int, int, int, bytes])


def read_announcements(kafka: KafkaSettings, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
    """Return (partition, offset, value) of each message in a control topic, oldest first; nothing if it does not exist.

    Anyone with write access can flood the topic, so only the newest messages count: CONTROL_MESSAGES of each partition,
    and CONTROL_BYTES of these. A message of more than MESSAGE_BYTES is truncated to one byte more than that.

    Raises:
        DeadlineError: The messages could not all be read in time.
        BrokerError: No broker answers, or the broker denies access.
    """
    deadline = time.monotonic() + deadline_s
    with admin(kafka) as asked:
        try:
            bounds = bounds_of(asked, topic, kafka)
        except TopicError:
            return []
    messages: list[tuple[int, int, int, bytes]] = []
    with consumer(kafka, size=RecordSize(MESSAGE_BYTES, MESSAGE_BYTES), cut=True) as reader:
        for number, (begin, end) in sorted(bounds.items()):
            found = _newest(_until(reader, topic, number, max(begin, end - CONTROL_MESSAGES), end, deadline, kafka))
            # Clocks differ, but within a partition the order of the offsets is right.
            times = accumulate((when for when, _, _ in found), max)
            messages += [(when, number, offset, value) for when, (_, offset, value) in zip(times, found, strict=True)]
    kept = [message[1:] for message in _newest(sorted(messages))]
    if older := sum(end - begin for begin, end in bounds.values()) - len(kept):
        log.info(
            "control topic %s: only the newest %d messages count; %d older messages or transaction markers are ignored",
            topic,
            len(kept),
            older,
        )
    return kept


def _newest(messages: Iterable[Message]) -> list[Message]:
    """Return the newest messages that fit into CONTROL_BYTES. The value is the last element of each message."""
    kept: deque[Message] = deque()
    size = 0
    for message in messages:
        kept.append(message)
        size += len(message[-1])
        while size > CONTROL_BYTES:
            size -= len(kept.popleft()[-1])
    return list(kept)


def _until(
    reader: KafkaConsumer, topic: str, number: int, begin: int, end: int, deadline: float, kafka: KafkaSettings
) -> Iterator[tuple[int, int, bytes]]:
    """Yield (time, offset, value) of each message of a partition.

    A batch that is too large to decompress yields a single message that is too large to parse.
    """
    from kafka import TopicPartition

    from fedstream.stream.limits import OversizedBatch

    partition = TopicPartition(topic, number)
    reader.assign([partition])
    reader.seek(partition, begin)
    while reader.position(partition, timeout_ms=int(POLL_S * 1000)) < end:
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"control topic {topic!r} at {kafka.bootstrap_servers} could not be read in time; "
                "is its broker still there?"
            )
        try:
            found = reader.poll(timeout_ms=int(POLL_S * 1000)).get(partition, [])
        except OversizedBatch as error:
            yield 0, error.first, bytes(MESSAGE_BYTES + 1)
            reader.seek(partition, error.end)
            continue
        yield from ((record.timestamp, record.offset, record.value or b"") for record in found if record.offset < end)
