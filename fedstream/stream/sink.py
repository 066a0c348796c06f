"""The data owner's side: send labelled records, then announce exactly the offsets they got. Kafka-ML's class and signature."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError, UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement, ModelAnnouncement, check_announceable, invalid_client_name
from fedstream.stream.codec import RawCodec
from fedstream.stream.offsets import OffsetRange, format_ranges, invalid_topic_name, total_records
from fedstream.stream.writer import UNLABELLED, RecordWriter


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
        UsageError: a value cannot be announced, or the client's name cannot be used.
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
        control_topic: str = DATA_CONTROL_TOPIC,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        self.topic, self.unsupervised_topic, self.control_topic = topic, unsupervised_topic or None, control_topic
        self.client = os.environ.get("FEDSTREAM_CLIENT") or topic
        if reason := invalid_topic_name(topic) or invalid_client_name(self.client):
            raise UsageError(f"{reason} (the client's name is FEDSTREAM_CLIENT, or else the topic)")
        self._config = {"data_type": data_type, "label_type": label_type, "data_reshape": data_reshape, "label_reshape": label_reshape}
        self._said = {
            "description": description,
            "dataset_restrictions": dataset_restrictions,
            "validation_rate": validation_rate,
            "test_rate": test_rate,
            "deployment_id": deployment_id,
        }
        try:
            check_announceable(self._said)
        except AnnouncementError as error:
            raise UsageError(str(error)) from error
        servers = boostrap_servers if isinstance(boostrap_servers, str) else ",".join(boostrap_servers)
        self._kafka = KafkaSettings.from_env({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers})
        self._writer = RecordWriter(self._kafka)
        self._codec: RawCodec | None = None
        self.announcement: DataAnnouncement | None = None

    def send(self, data: Any, label: Any) -> None:
        """Send one labelled sample.

        Raises:
            RecordError: its shape or dtype is not that of the first one.
            AnnouncementError: the first one's dtype or shape cannot be announced.
            BrokerError: the broker did not take it.
        """
        sample, target = np.asarray(data), np.asarray(label)
        if self._codec is None:
            self._codec = self._infer(sample, target)
        codec = self._codec
        value = _encoded(sample, codec.data_dtype, codec.data_shape)
        self._writer.write(self.topic, value, _encoded(target, codec.label_dtype, codec.label_shape))

    def unsupervised_send(self, data: Any) -> None:
        """Send one sample without a label, to the unsupervised topic.

        Raises:
            UsageError: the sink was made without one.
            BrokerError: the broker did not take it.
        """
        if self.unsupervised_topic is None:
            raise UsageError("this sink has no unsupervised_topic; name one when making it")
        sample = np.asarray(data)
        codec = self._codec
        self._writer.write(self.unsupervised_topic, _encoded(sample, codec.data_dtype, codec.data_shape) if codec else sample.tobytes(), UNLABELLED)

    def close(self) -> None:
        """Wait until every record is stored, then announce the exact offsets that they got.

        Raises:
            UsageError: nothing was sent.
            BrokerError: a record was not stored; nothing is announced.
        """
        try:
            written = self._writer.flush()
            if self._codec is None:
                raise UsageError(f"no record was sent to topic {self.topic!r}, so there is nothing to announce")
            own = [r for r in written if r.topic == self.topic]
            unlabelled = format_ranges(r for r in written if r.topic == self.unsupervised_topic) or None
            self.announcement = raw_announcement(self._kafka, self.client, self._codec, own, unsupervised_topic=unlabelled, **self._said)
            self._writer.write(self.control_topic, self.announcement.to_bytes(), UNLABELLED)
            self._writer.flush()
        finally:
            self._writer.close()

    def _infer(self, sample: NDArray[Any], label: NDArray[Any]) -> RawCodec:
        given = {name: value for name, value in self._config.items() if value is not None}
        return RawCodec.from_config({**RawCodec.from_sample(sample, label).config(), **given})


def raw_announcement(kafka: KafkaSettings, client: str, codec: RawCodec, ranges: Sequence[OffsetRange], **said: Any) -> DataAnnouncement:
    """Return the announcement of RAW records.

    Args:
        kafka: where they are.
        client: whose they are.
        codec: their format.
        ranges: their offsets.
        said: what else the owner says, as fields of the announcement.
    """
    return DataAnnouncement(
        topic=format_ranges(ranges),
        input_format="RAW",
        input_config=codec.config(),
        total_msg=total_records(ranges),
        client=client,
        bootstrap_servers=kafka.bootstrap_servers,
        **said,
    )


def announce_model(kafka: KafkaSettings, announcement: ModelAnnouncement, topic: str) -> None:
    """Tell data owners about a published model.

    Raises:
        BrokerError: the broker did not take the message.
    """
    writer = RecordWriter(kafka)
    try:
        writer.write(topic, announcement.to_bytes(), UNLABELLED)
        writer.flush()
    finally:
        writer.close()


def _encoded(value: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    if value.dtype != dtype:
        if not np.can_cast(value.dtype, dtype, "same_kind"):
            raise RecordError(f"a record of dtype {value.dtype} cannot be sent to a stream of {dtype}; convert it first")
        value = value.astype(dtype)
    if value.size != math.prod(shape):
        raise RecordError(f"a record of shape {value.shape} cannot be sent to a stream of {shape}; reshape it first")
    return value.tobytes()
