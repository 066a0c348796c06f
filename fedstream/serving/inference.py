"""Streaming inference: a consumer that predicts records and commits their offsets after the predictions are stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from fedstream.errors import BrokerAway, RecordError, UsageError
from fedstream.serving.predictions import answers
from fedstream.serving.storing import Message, check_topics, store, where
from fedstream.serving.versions import Served, ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.stream.client import close_producer, consumer, open_producer
from fedstream.stream.reader import topic_bounds

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.consumer.fetcher import ConsumerRecord

log = logging.getLogger("fedstream.serving")

POLL_S = 0.5
"""Seconds to wait for a record; signals, the heartbeat and newer versions are handled in between."""

AWAY_S = 300.0
"""Seconds for which the brokers can be unavailable before the process ends with an error."""

ASK_S = 30.0
"""Seconds without a record after which to check the brokers and the topic, for which a consumer would wait silently."""

PAUSE_S = 1.0
"""Seconds between two attempts to reach the brokers."""

TELL_S = 30.0
"""Seconds between two progress messages in the log."""


@dataclass(frozen=True)
class Streams:
    """The topics and the consumer group.

    Attributes:
        input_topic: Topic of the records.
        output_topic: Topic of the predictions.
        error_topic: Topic of the malformed records; empty to only log them.
        group: Consumer group, whose members share the partitions of the input topic.
    """

    input_topic: str
    output_topic: str
    error_topic: str
    group: str


@dataclass(frozen=True)
class Pace:
    """How records are read.

    Attributes:
        batch_size: Maximum number of records predicted at once.
        until_end: Whether to stop at the current end of the input instead of waiting for more records.
        heartbeat: File to touch in each iteration; an old file shows that the process is stuck.
    """

    batch_size: int = 32
    until_end: bool = False
    heartbeat: Path | None = None


@dataclass
class Counts:
    """The number of records read, predictions stored, records rejected, and batches."""

    records: int = 0
    predictions: int = 0
    rejected: int = 0
    batches: int = 0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Log the partitions of this member.

    A rebalance needs no commit, because the records of one poll are committed before the next poll.
    """

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        log.info(
            "assigned partitions: %s", ", ".join(str(partition.partition) for partition in sorted(assigned)) or "none"
        )


class Inference:
    """Predict the records of a topic.

    Each iteration has four steps:

    1. Read the records that have arrived, at most one batch.
    2. Predict them.
    3. Send the predictions and wait until all replicas have stored them.
    4. Commit the offsets of the input.

    If the process is killed at any point, the next member continues after the last commit: a record can be predicted
    twice, but none is lost.

    A batch never holds more than the records of one poll. A partition that is kept through a rebalance continues after
    the polled records, so records held back would have to be dropped exactly when their partition is revoked. Under
    load, the next batch fills while the current one is predicted.

    Args:
        kafka: Settings of the brokers.
        streams: The topics and the consumer group.
        version: The version that predicts.
        pace: How records are read.
        stop: Event that ends the process after the current batch.
    """

    def __init__(
        self, kafka: KafkaSettings, streams: Streams, version: ServedVersion, pace: Pace, stop: threading.Event
    ) -> None:
        self._kafka, self._streams, self._version, self._pace, self._stop = kafka, streams, version, pace, stop
        self._heard: float | None = None
        self.counts = Counts()
        self._told, self._told_at = Counts(), time.monotonic()

    def run(self) -> Counts:
        """Predict records until stopped, also across temporary failures of the brokers.

        Raises:
            TopicError: The input or the output topic does not exist.
            BrokerError: The brokers do not answer, or reject the connection.
            ModelError: The model fails.
        """
        bounds = topic_bounds(self._kafka, self._streams.input_topic)
        # Partitions whose records were all deleted are left out: their offsets are never committed.
        ends = {partition: end for partition, (first, end) in bounds.items() if first < end}
        while True:
            try:
                self._serve(ends)
                return self.counts
            except BrokerAway as error:
                if self._heard is None or time.monotonic() - self._heard > AWAY_S:
                    raise
                log.warning("%s; waiting for the brokers", error)
                self._beat()
                if self._stop.wait(PAUSE_S):
                    return self.counts

    def _serve(self, ends: dict[int, int]) -> None:
        with consumer(self._kafka, self._streams.group) as reader, self._writer() as writer:
            reader.subscribe([self._streams.input_topic], listener=_Listener())
            self._heard = self._heard or time.monotonic()
            while not self._stop.is_set():
                self._beat()
                polled = reader.poll(timeout_ms=int(POLL_S * 1000), max_records=self._pace.batch_size)
                served = self._version.current()
                if batch := list(chain.from_iterable(polled.values())):
                    self._answer(writer, served, batch)
                    self._commit(reader, batch)
                    self._heard = time.monotonic()
                elif self._pace.until_end and self._at_end(reader, ends):
                    break
                elif time.monotonic() - self._heard > ASK_S:
                    topic_bounds(self._kafka, self._streams.input_topic)
                    self._heard = time.monotonic()
                self._tell()

    def _tell(self) -> None:
        if self.counts != self._told and time.monotonic() - self._told_at >= TELL_S:
            self._told, self._told_at = replace(self.counts), time.monotonic()
            log.info(
                "%d records, %d predictions, %d rejected",
                self.counts.records,
                self.counts.predictions,
                self.counts.rejected,
            )

    @contextmanager
    def _writer(self) -> Iterator[KafkaProducer]:
        writer = open_producer(self._kafka, idempotent=False)
        try:
            if self._heard is None:
                topics = filter(None, (self._streams.output_topic, self._streams.error_topic))
                check_topics(writer, topics, self._kafka.bootstrap_servers)
            yield writer
        finally:
            close_producer(writer)

    def _answer(self, writer: KafkaProducer, served: Served, batch: list[ConsumerRecord]) -> None:
        """Send the predictions and the records that cannot be predicted, and wait until they are stored."""
        wrong: list[tuple[ConsumerRecord, RecordError]] = []
        messages: list[Message] = []
        for record, answer in zip(batch, answers(served, [record.value for record in batch]), strict=True):
            if isinstance(answer, RecordError):
                wrong.append((record, answer))
            else:
                messages.append((record, answer, served.headers))
        streams = self._streams
        large = RecordError(f"its prediction is too large for topic {streams.output_topic!r}")
        wrong += [(record, large) for record in store(writer, streams.output_topic, messages)]
        if streams.error_topic:
            told = [(record, record.value, [("fedstream-error", str(error).encode())]) for record, error in wrong]
            if left := store(writer, streams.error_topic, told):
                log.warning(
                    "records too large for topic %r, which stay in the input only: %s",
                    streams.error_topic,
                    ", ".join(map(where, left)),
                )
        self.counts.records += len(batch)
        self.counts.predictions += len(batch) - len(wrong)
        self.counts.rejected += len(wrong)
        self.counts.batches += 1
        if wrong:
            record, error = wrong[0]
            log.warning(
                "%d of %d records cannot be predicted; the first is %s: %s",
                len(wrong),
                len(batch),
                where(record),
                error,
            )

    def _commit(self, reader: KafkaConsumer, batch: list[ConsumerRecord]) -> None:
        try:
            reader.commit({_partition(record): OffsetAndMetadata(record.offset + 1, "", -1) for record in batch})
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError) as error:
            log.warning(
                "%d records will be predicted again, because their partitions were reassigned (%s)",
                len(batch),
                type(error).__name__,
            )

    def _at_end(self, reader: KafkaConsumer, ends: dict[int, int]) -> bool:
        """Return whether the group has reached these offsets, by this member's position and the others' commits."""
        own, timeout_ms = reader.assignment(), int(POLL_S * 1000)
        for number, end in ends.items():
            partition = TopicPartition(self._streams.input_topic, number)
            try:
                at = (
                    reader.position(partition, timeout_ms)
                    if partition in own
                    else reader.committed(partition, timeout_ms=timeout_ms)
                )
            except KafkaTimeoutError:  # the coordinator is busy with a rebalance; the next iteration tries again
                return False
            if (at or 0) < end:
                return False
        return True

    def _beat(self) -> None:
        try:
            if self._pace.heartbeat:
                self._pace.heartbeat.touch()
        except OSError as error:
            raise UsageError(
                f"cannot write the heartbeat file {str(self._pace.heartbeat)!r}: {error.strerror}"
            ) from error


def _partition(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
