"""Find the offsets of records in a topic by their key or their time.

Kafka has no index of keys, so all records that the topic keeps are read. Only their keys and times are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedstream.deadline import Deadline
from fedstream.errors import DeadlineError, RecordError, TopicError
from fedstream.settings import KafkaSettings
from fedstream.stream.client import REQUEST_MS, admin, consumer
from fedstream.stream.reader import POLL_S, bounds_of
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from kafka import KafkaConsumer, TopicPartition
    from kafka.consumer.fetcher import ConsumerRecord

FOUND = 100_000
"""Maximum number of records that a search returns. A label is the key of many records, and none of a person's."""


@dataclass(frozen=True)
class Wanted:
    """What identifies the records: their key or their time.

    Attributes:
        key: The key of a record, as bytes.
        since_ms: The first millisecond since 1970 at which a record can have been written, on Kafka's clock; -1 for any
            time or none.
        until_ms: The first millisecond after the last such one.
    """

    key: bytes | None = None
    since_ms: int = -1
    until_ms: int = 2**63 - 1

    def fits(self, record: ConsumerRecord) -> bool:
        return self.key in (None, record.key) and self.since_ms <= int(record.timestamp) < self.until_ms


@dataclass
class Search:
    """The result of a search.

    Attributes:
        offsets: Partition -> offsets of the records, ascending.
        looked_at: Number of records that were looked at.
    """

    offsets: dict[int, list[int]] = field(default_factory=dict)
    looked_at: int = 0


def find_records(kafka: KafkaSettings, topic: str, partition: int | None, wanted: Wanted, deadline_s: float) -> Search:
    """Return the offsets of all records with a key or from a time, as far as the topic still keeps them.

    Args:
        kafka: Connection settings of the brokers.
        topic: Name of the topic.
        partition: Partition to search; None for all.
        wanted: What identifies the records.
        deadline_s: Time limit in seconds.

    Raises:
        DeadlineError: The records could not all be looked at in time.
        TopicError: There is no such topic or partition.
        RecordError: More than FOUND records fit, or a batch is too large to be read.
        BrokerError: No broker answers, or the broker denies access.
    """
    from kafka import TopicPartition

    deadline, found = Deadline.after(deadline_s), Search()
    with admin(kafka) as asked:
        bounds = bounds_of(asked, topic, kafka)
    searched = {number: kept for number, kept in bounds.items() if partition in (None, number)}
    if not searched:
        raise TopicError(f"topic {topic!r} at {kafka.bootstrap_servers} has no partition {partition}")
    with consumer(kafka, size=RecordSize(value=0, key=len(wanted.key or b"")), cut=True) as reader:
        for number, (first, end) in sorted(searched.items()):
            offsets = found.offsets[number] = []
            for batch in _batches(reader, TopicPartition(topic, number), first, end, wanted.since_ms):
                if deadline.passed:
                    total = sum(end - first for first, end in searched.values())
                    raise DeadlineError(
                        f"{found.looked_at:,} of about {total:,} records of topic {topic!r} could be looked at in "
                        f"{deadline_s:g} s; name the partition, or the offset if you know it"
                    )
                found.looked_at += len(batch)
                offsets += [record.offset for record in batch if wanted.fits(record)]
                if sum(map(len, found.offsets.values())) > FOUND:
                    raise RecordError(
                        f"more than {FOUND:,} records of topic {topic!r} fit; name the partition and the offset"
                    )
    return found


def _batches(
    reader: KafkaConsumer, partition: TopicPartition, first: int, end: int, since_ms: int
) -> Iterator[list[ConsumerRecord]]:
    """Yield the records of a partition from the first that can fit, poll by poll; a poll can bring none."""
    if since_ms > 0:  # no record before the first one that is as late as that can fit
        later = reader.offsets_for_times({partition: since_ms}, timeout_ms=REQUEST_MS)[partition]
        first = max(first, later.offset) if later else end
    reader.assign([partition])
    reader.seek(partition, first)
    while reader.position(partition, timeout_ms=int(POLL_S * 1000)) < end:
        polled = reader.poll(timeout_ms=int(POLL_S * 1000)).get(partition, [])
        yield [record for record in polled if record.offset < end]
