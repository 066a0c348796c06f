"""Kafka-ML's sinks of RAW records, with its names and signatures."""

from __future__ import annotations

from typing import Any, Unpack

from numpy.typing import NDArray

from fedstream.errors import UsageError
from fedstream.record.format import RAW
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.codec import Codec, codec_class
from fedstream.stream.sink import Named, Sink
from fedstream.stream.spelling import either_spelling


class RawSink(Sink):
    """A sink of arrays, whose format is inferred from the first sample unless it is given."""

    format = RAW

    def __init__(self, *where: Any, given: dict[str, str | None], **options: Any) -> None:
        super().__init__(*where, **options)
        self._given = {name: value for name, value in given.items() if value is not None}

    def _codec_of(self, sample: NDArray[Any], label: NDArray[Any]) -> Codec:
        raw = codec_class(RAW)
        codec = raw.from_config({**raw.from_sample(sample, label).config(), **self._given})
        if self._features and codec.data_shape != (len(self._features),):
            raise UsageError(
                f"{len(self._features)} columns are named, but a sample has shape {codec.data_shape}; "
                "name one for each value of a flat sample"
            )
        return codec


class FederatedRawSink(RawSink):
    """Kafka-ML's sink for RAW records. A data owner only has to change the import line of a Kafka-ML script.

    Args:
        boostrap_servers: `host:port[,host:port...]`. Kafka-ML spells the name so; `bootstrap_servers` works too.
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
        allow_nan: Also send NaN and infinity. Kafka-ML does not have this argument or the following ones.
        more: The fields `features`, `classes` and `append` of Named.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.

    Example:
        >>> with FederatedRawSink("localhost:9092", "mnist", 1, validation_rate=0.1) as sink:  # doctest: +SKIP
        ...     for image, label in zip(x_train, y_train):
        ...         sink.send(data=image, label=label)
    """

    @either_spelling
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
        allow_nan: bool = False,
        **more: Unpack[Named],
    ) -> None:
        super().__init__(
            boostrap_servers,
            topic,
            deployment_id,
            given=_given(data_type, label_type, data_reshape, label_reshape),
            control_topic=control_topic,
            unsupervised_topic=unsupervised_topic,
            allow_nan=allow_nan,
            description=description,
            dataset_restrictions=dataset_restrictions,
            validation_rate=validation_rate,
            test_rate=test_rate,
            **more,
        )


class OnlineFederatedRawSink(RawSink):
    """Kafka-ML's sink for RAW records that keep coming, which announces the topic instead of offsets.

    Its arguments are those of FederatedRawSink without `test_rate`.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.

    Example:
        >>> with OnlineFederatedRawSink("localhost:9092", "mnist", 1) as sink:  # doctest: +SKIP
        ...     sink.send_online_control_msg(data=x_train[0], label=y_train[0])
        ...     for image, label in zip(x_train, y_train):
        ...         sink.send(data=image, label=label)
    """

    incremental = True

    @either_spelling
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
        control_topic: str = DATA_CONTROL_TOPIC,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
        *,
        allow_nan: bool = False,
        **more: Unpack[Named],
    ) -> None:
        super().__init__(
            boostrap_servers,
            topic,
            deployment_id,
            given=_given(data_type, label_type, data_reshape, label_reshape),
            control_topic=control_topic,
            unsupervised_topic=unsupervised_topic,
            allow_nan=allow_nan,
            description=description,
            dataset_restrictions=dataset_restrictions,
            validation_rate=validation_rate,
            **more,
        )

    def send_online_control_msg(self, data: Any, label: Any) -> None:
        """Announce the stream, before or after its first records are sent.

        Like Kafka-ML, a sink that sends records without labels announces the exact offsets of the labelled records that
        it has sent, and the topic of those without labels. Any other sink announces its topic.

        Args:
            data: A sample, whose dtype and shape are announced; it is not sent.
            label: Its label.

        Raises:
            RecordError: The shape or dtype differs from that of the samples sent before.
            AnnouncementError: The dtype or shape cannot be announced.
            UsageError: The sink is closed.
            BrokerError: A record was not stored, or the broker did not accept the announcement.
        """
        self._check_open()
        self._codec, _, _ = self._labelled(data, label)
        own, _ = self._written()
        self._announce(self._codec, own if own and self.unsupervised_topic else self.topic, self.unsupervised_topic)

    def close(self) -> None:
        """Wait until every record is stored, and end the connection.

        Raises:
            UsageError: The stream was never announced, or the sink is already closed.
            BrokerError: A record was not stored.
        """
        with self._ending():
            self._written()
            if self.announcement is None:
                raise UsageError(
                    f"topic {self.topic!r} was never announced, so no run knows of it; call send_online_control_msg"
                )

    online_close = close
    """Kafka-ML's name of `close`."""


def _given(
    data_type: str | None, label_type: str | None, data_reshape: str | None, label_reshape: str | None
) -> dict[str, str | None]:
    return {
        "data_type": data_type,
        "label_type": label_type,
        "data_reshape": data_reshape,
        "label_reshape": label_reshape,
    }
