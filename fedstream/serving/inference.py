"""Streaming inference: a member of a consumer group that predicts records, and moves on only when their predictions are stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    UnknownError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from fedstream.errors import BrokerAway, RecordError, TopicError, UsageError
from fedstream.serving.predictions import answers
from fedstream.serving.versions import Served, ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.stream.client import REQUEST_MS, close_producer, consumer, open_producer
from fedstream.stream.reader import topic_bounds

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.consumer.fetcher import ConsumerRecord
    from kafka.producer.future import FutureRecordMetadata

Message: TypeAlias = "tuple[ConsumerRecord, bytes | None, list[tuple[str, bytes]]]"
"""The record that it answers, its value, and the headers that are added to the record's."""

log = logging.getLogger("fedstream.serving")

POLL_S = 0.5
"""Seconds to wait for a record; the signals, the heartbeat and newer versions are looked at in between."""

AWAY_S = 300.0
"""Seconds brokers may be away before this ends, for whoever started it to decide."""

ASK_S = 30.0
"""Seconds without a record after which to ask whether brokers and topic are there: a consumer waits for those that are away without a word."""

PAUSE_S = 1.0
"""Seconds between two attempts to reach them."""

TELL_S = 30.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Streams:
    """From where to where records go.

    Attributes:
        input_topic: of the records.
        output_topic: of the predictions.
        error_topic: of malformed records; empty to log them only.
        group: consumer group, whose members share the input's partitions.
    """

    input_topic: str
    output_topic: str
    error_topic: str
    group: str


@dataclass(frozen=True)
class Pace:
    """How records are taken.

    Attributes:
        batch_size: records predicted at once, at most.
        until_end: stop where the input ends now, instead of waiting for more.
        heartbeat: file to touch in each turn; a file that grows old tells a stuck process.
    """

    batch_size: int = 32
    until_end: bool = False
    heartbeat: Path | None = None


@dataclass
class Counts:
    """What was done: records read, predictions stored, records rejected, batches."""

    records: int = 0
    predictions: int = 0
    rejected: int = 0
    batches: int = 0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Says what this member has to do. At a rebalance there is nothing to commit: what one poll gave is committed before the next."""

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        log.info("has partitions %s", ", ".join(str(partition.partition) for partition in sorted(assigned)) or "none")


class Inference:
    """Predict the records of a topic.

    Each turn: 1. take what has arrived, a batch at most; 2. predict it; 3. send the predictions and wait until all replicas have them; 4. commit the
    input's offsets. Killed anywhere, the next member begins after the last commit: a record may be predicted twice, none is left out.

    A batch is what one poll gives, never more: a partition that is kept through a rebalance goes on behind the records that were polled, so what is
    held over it would have to be given up exactly when its partition is. Under load the next batch fills while this one is predicted.

    Args:
        kafka: the brokers.
        streams: the topics, and the group.
        version: what predicts.
        pace: how records are taken.
        stop: set from elsewhere to end after the batch in hand.
    """

    def __init__(self, kafka: KafkaSettings, streams: Streams, version: ServedVersion, pace: Pace, stop: threading.Event) -> None:
        self._kafka, self._streams, self._version, self._pace, self._stop = kafka, streams, version, pace, stop
        self._heard: float | None = None
        self.counts = Counts()
        self._told, self._told_at = Counts(), time.monotonic()

    def run(self) -> Counts:
        """Predict until stopped. Brokers that go away meanwhile may come back.

        Raises:
            TopicError: the input or the output topic does not exist.
            BrokerError: the brokers do not answer, or refuse us.
            ModelError: the model fails.
        """
        bounds = topic_bounds(self._kafka, self._streams.input_topic)
        ends = {partition: end for partition, (first, end) in bounds.items() if first < end}  # nobody commits what is deleted
        while True:
            try:
                self._serve(ends)
                return self.counts
            except BrokerAway as error:
                if self._heard is None or time.monotonic() - self._heard > AWAY_S:
                    raise
                log.warning("%s; goes on when they do", error)
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
            log.info("%d records, %d predictions, %d rejected", self.counts.records, self.counts.predictions, self.counts.rejected)

    @contextmanager
    def _writer(self) -> Iterator[KafkaProducer]:
        writer = open_producer(self._kafka, idempotent=False)
        try:
            if self._heard is None:
                self._check_topics(writer)
            yield writer
        finally:
            close_producer(writer)

    def _check_topics(self, writer: KafkaProducer) -> None:
        for topic in filter(None, (self._streams.output_topic, self._streams.error_topic)):
            try:
                writer.partitions_for(topic)
            except KafkaTimeoutError as error:
                servers = self._kafka.bootstrap_servers
                raise TopicError(f"there is no topic {topic!r} at {servers}, and the broker does not make it; create it first") from error

    def _answer(self, writer: KafkaProducer, served: Served, batch: list[ConsumerRecord]) -> None:
        """Send predictions, and what cannot be predicted, and wait until they are stored."""
        wrong: list[tuple[ConsumerRecord, RecordError]] = []
        messages: list[Message] = []
        for record, answer in zip(batch, answers(served, [record.value for record in batch]), strict=True):
            if isinstance(answer, RecordError):
                wrong.append((record, answer))
            else:
                messages.append((record, answer, served.headers))
        streams = self._streams
        large = RecordError(f"its prediction is too large for topic {streams.output_topic!r}")
        wrong += [(record, large) for record in self._store(writer, streams.output_topic, messages)]
        if streams.error_topic:
            told = [(record, record.value, [("fedstream-error", str(error).encode())]) for record, error in wrong]
            if left := self._store(writer, streams.error_topic, told):
                log.warning("too large for topic %r, and left in the input: %s", streams.error_topic, ", ".join(map(_where, left)))
        self.counts.records += len(batch)
        self.counts.predictions += len(batch) - len(wrong)
        self.counts.rejected += len(wrong)
        self.counts.batches += 1
        if wrong:
            record, error = wrong[0]
            log.warning("%d of %d records cannot be predicted, the first is %s: %s", len(wrong), len(batch), _where(record), error)

    def _store(self, writer: KafkaProducer, topic: str, messages: Iterable[Message]) -> list[ConsumerRecord]:
        """Send messages, wait until they are stored, and return the records of those that are too large: to try again would hold up all others."""
        pending: list[tuple[ConsumerRecord, FutureRecordMetadata]] = []
        large: list[ConsumerRecord] = []
        for record, value, headers in messages:
            try:
                pending.append((record, self._send(writer, topic, record, value, headers)))
            except MessageSizeTooLargeError:
                large.append(record)
        with suppress(UnknownError):  # kafka-python 3.0, when a batch was too large and is sent again in parts; each message tells of itself
            writer.flush(REQUEST_MS / 1000)
        for record, future in pending:
            try:
                future.get(REQUEST_MS / 1000)
            except (MessageSizeTooLargeError, RecordListTooLargeError):
                large.append(record)
        return large

    def _send(
        self, writer: KafkaProducer, topic: str, record: ConsumerRecord, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> FutureRecordMetadata:
        passed_on = [(name, said or b"") for name, said in record.headers]
        if value is None and record.key is None:
            value = b""  # kafka-python sends no message without both
        return writer.send(topic, value=value, key=record.key, headers=[*passed_on, *headers, ("fedstream-source", _where(record).encode())])

    def _commit(self, reader: KafkaConsumer, batch: list[ConsumerRecord]) -> None:
        try:
            reader.commit({_partition(record): OffsetAndMetadata(record.offset + 1, "", -1) for record in batch})
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError) as error:
            log.warning("%d records will be predicted again, since their partitions have changed hands (%s)", len(batch), type(error).__name__)

    def _at_end(self, reader: KafkaConsumer, ends: dict[int, int]) -> bool:
        """Tell whether the group has come to these offsets: this member by where it stands, the others by what they committed."""
        own, timeout_ms = reader.assignment(), int(POLL_S * 1000)
        for number, end in ends.items():
            partition = TopicPartition(self._streams.input_topic, number)
            try:
                at = reader.position(partition, timeout_ms) if partition in own else reader.committed(partition, timeout_ms=timeout_ms)
            except KafkaTimeoutError:  # the coordinator is busy with a rebalance: ask again in the next turn
                return False
            if (at or 0) < end:
                return False
        return True

    def _beat(self) -> None:
        try:
            if self._pace.heartbeat:
                self._pace.heartbeat.touch()
        except OSError as error:
            raise UsageError(f"cannot write the heartbeat file {str(self._pace.heartbeat)!r}: {error.strerror}") from error


def _partition(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


def _where(record: ConsumerRecord) -> str:
    return f"{record.topic}:{record.partition}:{record.offset}"
