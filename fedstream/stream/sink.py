"""The data owner's side: send labelled records, then announce exactly the offsets they got. Kafka-ML's class and signature."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from fedstream.errors import RecordError, UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DataAnnouncement, ModelAnnouncement, invalid_client_name
from fedstream.stream.client import REQUEST_MS, explained, open_producer, producer
from fedstream.stream.codec import RawCodec
from fedstream.stream.offsets import OffsetRange, format_ranges

if TYPE_CHECKING:
    from kafka import KafkaProducer

UNLABELLED = b"\0"
"""Key of a record without label."""

PENDING = 10_000
"""Records in flight before the sink waits for the oldest: bounds memory, and finds a dead broker early."""


class FederatedRawSink:
    """Kafka-ML's sink for RAW records: a data owner's script needs only its import line changed.

    Credentials and certificates come from the KAFKA_* variables; the client's name from FEDSTREAM_CLIENT, or else from the topic.

    Args:
        boostrap_servers: `host:port[,host:port...]` (Kafka-ML's spelling).
        topic: topic of the records.
        deployment_id: Kafka-ML's id of a deployment; announced as it is.
        data_type: numpy name of the samples' dtype; inferred from the first sample.
        label_type: numpy name of the labels' dtype; inferred from the first label.
        description: free text.
        dataset_restrictions: text that holds a JSON object.
        data_reshape: shape of a sample, as "28 28"; inferred from the first sample.
        label_reshape: shape of a label; "1" for a scalar.
        validation_rate: part to hold out for validation, in [0, 1).
        test_rate: part to hold out for testing, in [0, 1).
        control_topic: topic of the announcement.
        group_id: taken for compatibility; a sink has no group.
        unsupervised_topic: topic of records without labels.

    Raises:
        UsageError: a value cannot be announced.
        BrokerError: no broker answers, or it refuses us.

    Example:
        >>> sink = FederatedRawSink("localhost:9092", "mnist", 1, validation_rate=0.1)  # doctest: +SKIP
        >>> for image, label in zip(x_train, y_train):  # doctest: +SKIP
        ...     sink.send(data=image, label=label)
        >>> sink.close()  # doctest: +SKIP
    """

    def __init__(
        self,
        boostrap_servers: str | list[str],
        topic: str,
        deployment_id: Any,
        data_type: str | None = None,
        label_type: str | None = None,
        description: str = "",
        dataset_restrictions: str = "{}",
        data_reshape: str | None = None,
        label_reshape: str | None = None,
        validation_rate: float = 0,
        test_rate: float = 0,
        control_topic: str = "FEDERATED_DATA_CONTROL_TOPIC",
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        servers = boostrap_servers if isinstance(boostrap_servers, str) else ",".join(boostrap_servers)
        self.topic, self.unsupervised_topic, self.control_topic = topic, unsupervised_topic, control_topic
        self._config = {"data_type": data_type, "label_type": label_type, "data_reshape": data_reshape, "label_reshape": label_reshape}
        self._said = {"description": description, "dataset_restrictions": dataset_restrictions, "validation_rate": validation_rate, "test_rate": test_rate}
        self._deployment_id, self._group_id = deployment_id, group_id
        self.client = os.environ.get("FEDSTREAM_CLIENT") or topic
        self._kafka = KafkaSettings.from_env({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers})
        self._producer: KafkaProducer = open_producer(self._kafka)
        self._codec: RawCodec | None = None
        self._pending: list[Future[Any]] = []
        self._written: dict[tuple[str, int], list[int]] = {}
        self.announcement: DataAnnouncement | None = None

    def send(self, data: Any, label: Any) -> None:
        """Send one labelled sample.

        Raises:
            RecordError: its shape or dtype is not that of the first one.
            BrokerError: the broker did not take it.
        """
        sample, target = np.asarray(data), np.asarray(label)
        if self._codec is None:
            self._infer(sample, target)
        assert self._codec is not None
        self._write(self.topic, _encoded(sample, self._codec.data_dtype, self._codec.data_shape), _encoded(target, self._codec.label_dtype, self._codec.label_shape))

    def unsupervised_send(self, data: Any) -> None:
        """Send one sample without a label, to the unsupervised topic.

        Raises:
            UsageError: the sink was made without one.
        """
        if self.unsupervised_topic is None:
            raise UsageError("this sink has no unsupervised_topic; name one when making it")
        sample = np.asarray(data)
        self._write(self.unsupervised_topic, sample.tobytes() if self._codec is None else _encoded(sample, self._codec.data_dtype, self._codec.data_shape), UNLABELLED)

    def close(self) -> None:
        """Wait until every record is stored, then announce the exact offsets that they got.

        Raises:
            UsageError: nothing was sent.
            BrokerError: a record was not stored; nothing is announced.
        """
        try:
            self._collect(0)
            if not any(topic == self.topic for topic, _ in self._written):
                raise UsageError(f"no record was sent to topic {self.topic!r}, so there is nothing to announce")
            self.announcement = self._announcement()
            with explained(self._kafka):
                self._producer.send(self.control_topic, value=self.announcement.to_bytes(), key=UNLABELLED).get(REQUEST_MS / 1000)
        finally:
            self._producer.close(timeout=REQUEST_MS / 1000)

    def abandon(self) -> None:
        """Close without announcing: what was sent stays in the topic, and no run will read it."""
        self._producer.close(timeout=0)

    def _infer(self, sample: np.ndarray, label: np.ndarray) -> None:
        if reason := invalid_client_name(self.client):
            raise UsageError(f"{reason} (it is FEDSTREAM_CLIENT, or else the topic)")
        inferred = RawCodec.from_sample(sample, label).config()
        given = {name: value for name, value in self._config.items() if value is not None}
        self._codec = RawCodec.from_config({**inferred, **given})

    def _write(self, topic: str, value: bytes, key: bytes) -> None:
        with explained(self._kafka):
            self._pending.append(self._producer.send(topic, value=value, key=key))
        if len(self._pending) >= 2 * PENDING:
            self._collect(PENDING)

    def _collect(self, leave: int) -> None:
        """Take up the offsets of all records but the last ones sent."""
        with explained(self._kafka):
            if not leave:
                self._producer.flush(REQUEST_MS / 1000)
            for future in self._pending[: len(self._pending) - leave]:
                stored = future.get(REQUEST_MS / 1000)
                self._written.setdefault((stored.topic, stored.partition), []).append(stored.offset)
        self._pending = self._pending[len(self._pending) - leave :]

    def _announcement(self) -> DataAnnouncement:
        assert self._codec is not None
        own = [r for (topic, partition), offsets in self._written.items() if topic == self.topic for r in _ranges(topic, partition, offsets)]
        return DataAnnouncement(
            topic=format_ranges(own),
            unsupervised_topic=format_ranges(
                r for (topic, partition), offsets in self._written.items() if topic == self.unsupervised_topic for r in _ranges(topic, partition, offsets)
            )
            or None,
            input_format="RAW",
            input_config=self._codec.config(),
            total_msg=sum(r.records for r in own),
            client=self.client,
            bootstrap_servers=self._kafka.bootstrap_servers,
            deployment_id=self._deployment_id,  # type: ignore[call-arg]
            **self._said,  # type: ignore[arg-type]
        )


def announce_model(kafka: KafkaSettings, announcement: ModelAnnouncement, topic: str) -> None:
    """Tell data owners about a published model.

    Raises:
        BrokerError: the broker did not take the message.
    """
    with producer(kafka) as writer:
        writer.send(topic, value=announcement.to_bytes(), key=UNLABELLED).get(REQUEST_MS / 1000)


def _encoded(value: np.ndarray, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    if value.dtype != dtype:
        if not np.can_cast(value.dtype, dtype, "same_kind"):
            raise RecordError(f"a record of dtype {value.dtype} cannot be sent to a stream of {dtype}; convert it first")
        value = value.astype(dtype)
    if value.size != int(np.prod(shape)):
        raise RecordError(f"a record of shape {value.shape} cannot be sent to a stream of {shape}; reshape it first")
    return value.tobytes()


def _ranges(topic: str, partition: int, offsets: Iterable[int]) -> list[OffsetRange]:
    """Join offsets to ranges: other producers may have written in between."""
    found: list[OffsetRange] = []
    for offset in sorted(offsets):
        if found and found[-1].end == offset:
            found[-1] = OffsetRange(topic, partition, found[-1].start, offset + 1)
        else:
            found.append(OffsetRange(topic, partition, offset, offset + 1))
    return found


