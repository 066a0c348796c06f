"""The data owner's side: send labelled records, then announce exactly the offsets that the broker assigned."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError, UsageError
from fedstream.record.format import StreamFormat
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
from fedstream.stream.codec import Codec
from fedstream.stream.columns import number_classes
from fedstream.stream.finite import check_finite
from fedstream.stream.records import UNLABELLED
from fedstream.stream.writer import RecordWriter, Writer


class Named(TypedDict, total=False):
    """What Kafka-ML's sinks do not announce.

    Attributes:
        features: Names of the columns of a flat sample, in order, so that a run can match them with other data owners'.
        classes: Names of the classes 0, 1, ...; with them, labels can be sent by name.
        append: Add to the client's earlier announcements instead of replacing them.
    """

    features: Sequence[str]
    classes: Sequence[str]
    append: bool


class Announced(Named, total=False):
    """What a data owner can announce with a stream.

    Attributes:
        description: Free text.
        dataset_restrictions: Text that contains a JSON object.
        validation_rate: Fraction to hold out for validation, in [0, 1).
        test_rate: Fraction to hold out for testing, in [0, 1).
    """

    description: str
    dataset_restrictions: str
    validation_rate: float
    test_rate: float


class Sink(ABC):
    """Send the records of one stream, then announce them. Subclasses know the format of the records.

    As a context manager, a sink closes itself at the end of the block. If the block raises an error, nothing is
    announced.

    Credentials and certificates come from the KAFKA_* variables. The client's name comes from FEDSTREAM_CLIENT, and
    defaults to the topic.

    Args:
        bootstrap_servers: `host:port[,host:port...]`, or a list of `host:port`.
        topic: Topic of the records.
        deployment_id: Kafka-ML's id of a deployment; announced unchanged.
        control_topic: Topic of the announcement.
        unsupervised_topic: Topic of the records without labels.
        allow_nan: Also send NaN and infinity.
        announced: What else is announced.

    Attributes:
        announcement: The newest announcement of this sink; None before there is one.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.
    """

    format: ClassVar[str]
    """Name of the records' format."""

    incremental: ClassVar[bool] = False
    """Whether more records follow the announcement."""

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        deployment_id: Any,
        *,
        control_topic: str = DATA_CONTROL_TOPIC,
        unsupervised_topic: str | None = None,
        allow_nan: bool = False,
        **announced: Unpack[Announced],
    ) -> None:
        self.topic, self.unsupervised_topic, self.control_topic = topic, unsupervised_topic or None, control_topic
        self.client = os.environ.get("FEDSTREAM_CLIENT") or topic
        if reason := invalid_topic_name(topic) or invalid_client_name(self.client):
            raise UsageError(f"{reason} (the client's name is FEDSTREAM_CLIENT, or else the topic)")
        self._features, self._classes = list(announced.get("features", ())), list(announced.get("classes", ()))
        names = {"features": self._features, "classes": self._classes}
        self._said: dict[str, Any] = {**announced, **names, "deployment_id": deployment_id}
        try:
            check_announceable(self._said)
        except AnnouncementError as error:
            raise UsageError(str(error)) from error
        servers = bootstrap_servers if isinstance(bootstrap_servers, str) else ",".join(bootstrap_servers)
        self._kafka = KafkaSettings.from_env({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers})
        self._writer = RecordWriter(self._kafka)
        self._codec: Codec | None = None
        self._allow_nan, self._sent, self._closed = allow_nan, Counter[str](), False
        self.announcement: DataAnnouncement | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._closed:
            return
        if error is None:
            self.close()
        else:
            self._closed = True
            self._writer.close()

    def send(self, data: Any, label: Any) -> None:
        """Send one labelled sample.

        Raises:
            RecordError: The shape or dtype differs from the first sample's, or the sample contains NaN or infinity.
            AnnouncementError: The dtype or shape of the first sample cannot be announced.
            UsageError: The sink is closed, or the label is not one of its classes.
            BrokerError: The broker did not accept the sample.
        """
        self._check_open()
        codec, sample, target = self._labelled(data, label)
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
        sample = self._array(data)
        codec = self._codec or self._codec_of(sample, np.zeros((), np.uint8))
        sample = self._checked(self.unsupervised_topic, "sample", sample, codec.data_dtype, codec.data_shape)
        self._write(self.unsupervised_topic, codec, sample, None)

    def close(self) -> None:
        """Wait until every record is stored, then announce the exact offsets that the broker assigned.

        Raises:
            UsageError: Nothing was sent, or the sink is already closed.
            BrokerError: A record was not stored; nothing is announced.
        """
        with self._ending():
            own, unlabelled = self._written()
            if self._codec is None:
                raise UsageError(f"no record was sent to topic {self.topic!r}, so there is nothing to announce")
            self._announce(self._codec, own, format_ranges(unlabelled) or None)

    @abstractmethod
    def _codec_of(self, sample: NDArray[Any], label: NDArray[Any]) -> Codec:
        """Return the codec of the stream, given its first sample."""

    def _array(self, data: Any) -> NDArray[Any]:
        """Return a sample as an array."""
        return np.asarray(data)

    def _labelled(self, data: Any, label: Any) -> tuple[Codec, NDArray[Any], NDArray[Any]]:
        """Return the codec, and a sample and its label as the codec encodes them."""
        if self._classes and isinstance(label, str):
            label = number_classes([label], self._classes)[0][0]
        sample, target = self._array(data), np.asarray(label)
        codec = self._codec or self._codec_of(sample, target)
        sample = self._checked(self.topic, "sample", sample, codec.data_dtype, codec.data_shape)
        return codec, sample, self._checked(self.topic, "label", target, codec.label_dtype, codec.label_shape)

    def _written(self) -> tuple[list[OffsetRange], list[OffsetRange]]:
        """Wait until every record is stored, and return the offsets of those with and of those without labels."""
        written = self._writer.flush()
        own = [r for r in written if r.topic == self.topic]
        return own, [r for r in written if r.topic == self.unsupervised_topic]

    def _announce(self, codec: Codec, own: Sequence[OffsetRange] | str, unsupervised: str | None) -> None:
        laid_out = StreamFormat(self.format, codec.config())
        self.announcement = announcement_of(
            self._kafka,
            self.client,
            laid_out,
            own,
            unsupervised_topic=unsupervised,
            incremental=self.incremental,
            **self._said,
        )
        self._writer.write(self.control_topic, self.announcement.to_bytes(), UNLABELLED)
        self._writer.flush()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Close the sink, whatever happens."""
        self._check_open()
        self._closed = True
        try:
            yield
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


def announcement_of(
    broker: KafkaSettings | Broker,
    client: str,
    laid_out: StreamFormat,
    records: Sequence[OffsetRange] | str,
    **said: Any,
) -> DataAnnouncement:
    """Return the announcement of records.

    Args:
        broker: Broker that stores the records.
        client: Name of the data owner.
        laid_out: Format of the records.
        records: Offsets of the records, or the topic of a stream without end.
        said: Other fields of the announcement.
    """
    topic, total = (records, None) if isinstance(records, str) else (format_ranges(records), total_records(records))
    return DataAnnouncement(
        topic=topic,
        input_format=laid_out.format,
        input_config=laid_out.config,
        total_msg=total,
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
