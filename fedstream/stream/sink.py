"""The data owner's side: send labelled records, then announce exactly the offsets they got. Kafka-ML's class and signature."""

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
        features: names of the columns of a flat sample, in their order, for a run to match them with other owners'; not Kafka-ML's, as all below.
        classes: names of the classes 0, 1, ...; labels may then be sent by name.
        append: add to what this client announced before, instead of taking its place.
        allow_nan: send NaN and infinity too.

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
            RecordError: its shape or dtype is not that of the first one, or it holds NaN or infinity.
            AnnouncementError: the first one's dtype or shape cannot be announced.
            UsageError: the sink is closed, or the label is none of its classes.
            BrokerError: the broker did not take it.
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
            UsageError: the sink was made without one, or is closed.
            RecordError: it holds NaN or infinity.
            BrokerError: the broker did not take it.
        """
        self._check_open()
        if self.unsupervised_topic is None:
            raise UsageError("this sink has no unsupervised_topic; name one when making it")
        sample = np.asarray(data)
        codec = self._codec or self._infer(sample, np.zeros((), np.uint8))
        sample = self._checked(self.unsupervised_topic, "sample", sample, codec.data_dtype, codec.data_shape)
        self._write(self.unsupervised_topic, codec, sample, None)

    def close(self) -> None:
        """Wait until every record is stored, then announce the exact offsets that they got.

        Raises:
            UsageError: nothing was sent, or the sink is closed already.
            BrokerError: a record was not stored; nothing is announced.
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
                f"this sink of topic {self.topic!r} is closed; make a new one, with append=True to add to what this one announced"
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
                f"{len(self._features)} columns are named, but a sample has shape {codec.data_shape}; name one for each value of a flat sample"
            )
        return codec


def announcement_of(
    broker: KafkaSettings | Broker, client: str, laid_out: StreamFormat, ranges: Sequence[OffsetRange], **said: Any
) -> DataAnnouncement:
    """Return the announcement of records.

    Args:
        broker: where they are.
        client: whose they are.
        laid_out: their format.
        ranges: their offsets.
        said: what else the owner says, as fields of the announcement.
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
    """Tell data owners about a published model.

    Raises:
        BrokerError: the broker did not take the message.
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
