"""The data owner's side: send labelled records, then announce exactly the offsets that the broker assigned.

The class has the name and the signature of Kafka-ML's.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError, UsageError
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import OffsetRange, format_ranges, invalid_topic_name, total_records
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import (
    DATA_CONTROL_TOPIC,
    DataAnnouncement,
    ModelAnnouncement,
    check_announceable,
    invalid_client_name,
)
from fedstream.stream.broker import Broker
from fedstream.stream.codec import Codec, codec_class
from fedstream.stream.columns import number_classes
from fedstream.stream.finite import check_finite
from fedstream.stream.records import UNLABELLED
from fedstream.stream.writer import RecordWriter, Writer


class FederatedRawSink:
    """Kafka-ML's sink for RAW records. A data owner only has to change the import line of a Kafka-ML script.

    Credentials and certificates come from the KAFKA_* variables. The client's name comes from FEDSTREAM_CLIENT, and
    defaults to the topic.

    Args:
        boostrap_servers: `host:port[,host:port...]` (the name of this argument is Kafka-ML's spelling).
        topic: Topic of the records.
        deployment_id: Kafka-ML's id of a deployment; announced unchanged.
        data_type: NumPy name of the samples' dtype; inferred from the first sample by default.
        label_type: NumPy name of the labels' dtype; inferred from the first label by default.
        description: Free text.
        dataset_restrictions: Text that contains a JSON object.
        data_reshape: Shape of a sample, such as "28 28"; inferred from the first sample by default.
        label_reshape: Shape of a label, "1" for a scalar; inferred from the first label by default.
        validation_rate: Fraction to hold out for validation, in [0, 1).
        test_rate: Fraction to hold out for testing, in [0, 1).
        control_topic: Topic of the announcement.
        group_id: Accepted for compatibility and ignored; a sink has no consumer group.
        unsupervised_topic: Topic of the records without labels.
        features: Names of the columns of a flat sample, in order, so that a run can match them with other data owners'.
            Kafka-ML does not have this argument or the following ones.
        classes: Names of the classes 0, 1, ...; with them, labels can be sent by name.
        append: Add to the client's earlier announcements instead of replacing them.
        allow_nan: Also send NaN and infinity.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.

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
        *,
        features: Sequence[str] = (),
        classes: Sequence[str] = (),
        append: bool = False,
        allow_nan: bool = False,
    ) -> None:
        self.topic, self.unsupervised_topic, self.control_topic = topic, unsupervised_topic or None, control_topic
        self.client = os.environ.get("FEDSTREAM_CLIENT") or topic
        if reason := invalid_topic_name(topic) or invalid_client_name(self.client):
            raise UsageError(f"{reason} (the client's name is FEDSTREAM_CLIENT, or else the topic)")
        self._config = {
            "data_type": data_type,
            "label_type": label_type,
            "data_reshape": data_reshape,
            "label_reshape": label_reshape,
        }
        self._said = {
            "description": description,
            "dataset_restrictions": dataset_restrictions,
            "validation_rate": validation_rate,
            "test_rate": test_rate,
            "deployment_id": deployment_id,
            "features": list(features),
            "classes": list(classes),
            "append": append,
        }
        try:
            check_announceable(self._said)
        except AnnouncementError as error:
            raise UsageError(str(error)) from error
        servers = boostrap_servers if isinstance(boostrap_servers, str) else ",".join(boostrap_servers)
        self._kafka = KafkaSettings.from_env({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers})
        self._writer = RecordWriter(self._kafka)
        self._codec: Codec | None = None
        self._features, self._classes, self._allow_nan = list(features), list(classes), allow_nan
        self._sent, self._closed = Counter[str](), False
        self.announcement: DataAnnouncement | None = None

    def send(self, data: Any, label: Any) -> None:
        """Send one labelled sample.

        Raises:
            RecordError: The shape or dtype differs from the first sample's, or the sample contains NaN or infinity.
            AnnouncementError: The dtype or shape of the first sample cannot be announced.
            UsageError: The sink is closed, or the label is not one of its classes.
            BrokerError: The broker did not accept the sample.
        """
        self._check_open()
        if self._classes and isinstance(label, str):
            label = number_classes([label], self._classes)[0][0]
        sample, target = np.asarray(data), np.asarray(label)
        codec = self._codec or self._infer(sample, target)
        sample = self._checked(self.topic, "sample", sample, codec.data_dtype, codec.data_shape)
        target = self._checked(self.topic, "label", target, codec.label_dtype, codec.label_shape)
        self._codec = codec
        self._write(self.topic, codec, sample, target)

    def unsupervised_send(self, data: Any) -> None:
        """Send one sample without a label, to the unsupervised topic.

        Raises:
            UsageError: The sink has no unsupervised topic, or is closed.
            RecordError: The sample contains NaN or infinity.
            BrokerError: The broker did not accept the sample.
        """
        self._check_open()
        if self.unsupervised_topic is None:
            raise UsageError("this sink has no unsupervised_topic; name one when making it")
        sample = np.asarray(data)
        codec = self._codec or self._infer(sample, np.zeros((), np.uint8))
        sample = self._checked(self.unsupervised_topic, "sample", sample, codec.data_dtype, codec.data_shape)
        self._write(self.unsupervised_topic, codec, sample, None)

    def close(self) -> None:
        """Wait until every record is stored, then announce the exact offsets that the broker assigned.

        Raises:
            UsageError: Nothing was sent, or the sink is already closed.
            BrokerError: A record was not stored; nothing is announced.
        """
        self._check_open()
        self._closed = True
        try:
            written = self._writer.flush()
            if self._codec is None:
                raise UsageError(f"no record was sent to topic {self.topic!r}, so there is nothing to announce")
            own = [r for r in written if r.topic == self.topic]
            unlabelled = format_ranges(r for r in written if r.topic == self.unsupervised_topic) or None
            said = StreamFormat(RAW, self._codec.config())
            self.announcement = announcement_of(
                self._kafka, self.client, said, own, unsupervised_topic=unlabelled, **self._said
            )
            self._writer.write(self.control_topic, self.announcement.to_bytes(), UNLABELLED)
            self._writer.flush()
        finally:
            self._writer.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(
                f"this sink of topic {self.topic!r} is closed; "
                "make a new one, with append=True to add to what this one announced"
            )

    def _checked(
        self, topic: str, what: str, value: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        fitted = _fitted(value, dtype, shape)
        if not self._allow_nan:
            check_finite(fitted[np.newaxis], what, self._sent[topic], self._features if what == "sample" else ())
        return fitted

    def _write(self, topic: str, codec: Codec, sample: NDArray[Any], label: NDArray[Any] | None) -> None:
        self._writer.write(topic, *codec.encode(sample, label))
        self._sent[topic] += 1

    def _infer(self, sample: NDArray[Any], label: NDArray[Any]) -> Codec:
        given, raw = {name: value for name, value in self._config.items() if value is not None}, codec_class(RAW)
        codec = raw.from_config({**raw.from_sample(sample, label).config(), **given})
        if self._features and codec.data_shape != (len(self._features),):
            raise UsageError(
                f"{len(self._features)} columns are named, but a sample has shape {codec.data_shape}; "
                "name one for each value of a flat sample"
            )
        return codec


def announcement_of(
    broker: KafkaSettings | Broker, client: str, laid_out: StreamFormat, ranges: Sequence[OffsetRange], **said: Any
) -> DataAnnouncement:
    """Return the announcement of records.

    Args:
        broker: Broker that stores the records.
        client: Name of the data owner.
        laid_out: Format of the records.
        ranges: Offsets of the records.
        said: Other fields of the announcement.
    """
    return DataAnnouncement(
        topic=format_ranges(ranges),
        input_format=laid_out.format,
        input_config=laid_out.config,
        total_msg=total_records(ranges),
        client=client,
        bootstrap_servers=broker.bootstrap_servers,
        **said,
    )


def announce_model(writer: Writer, announcement: ModelAnnouncement, topic: str) -> None:
    """Announce a published model to the data owners.

    Raises:
        BrokerError: The broker did not accept the message.
    """
    try:
        writer.write(topic, announcement.to_bytes(), UNLABELLED)
        writer.flush()
    finally:
        writer.close()


def _fitted(value: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if value.dtype != dtype:
        if not np.can_cast(value.dtype, dtype, "same_kind"):
            raise RecordError(
                f"a record of dtype {value.dtype} cannot be sent to a stream of {dtype}; convert it first"
            )
        value = value.astype(dtype)
    if value.size != math.prod(shape):
        raise RecordError(f"a record of shape {value.shape} cannot be sent to a stream of {shape}; reshape it first")
    return value
