"""Sinks of formats whose records name their fields, so that a record can be sent as a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError, UsageError
from fedstream.stream.codec import Codec, codec_class
from fedstream.stream.sink import Sink
from fedstream.stream.spelling import either_spelling


class NamedSink(Sink):
    """A sink whose format is known before the first sample.

    A sample is a mapping that contains the stream's fields, or an array with one value for each field.
    """

    def __init__(self, *where: Any, config: Mapping[str, Any], **options: Any) -> None:
        try:
            self._stream = codec_class(self.format).from_config(dict(config))
        except AnnouncementError as error:
            raise UsageError(str(error)) from error
        super().__init__(*where, **options)

    def _codec_of(self, sample: NDArray[Any], label: NDArray[Any]) -> Codec:
        return self._stream

    def _array(self, data: Any) -> NDArray[Any]:
        if not isinstance(data, Mapping):
            return super()._array(data)
        names = self._stream.names
        if lacking := [name for name in names if name not in data]:
            raise RecordError(
                f"the sample of record {self._sent[self.topic]} has no field {lacking[0]!r}; "
                f"the stream's fields are {', '.join(names)}"
            )
        return np.asarray([data[name] for name in names])


class FederatedJsonSink(NamedSink):
    """Send JSON records.

    Args:
        bootstrap_servers: `host:port[,host:port...]`, or a list of `host:port`.
        topic: Topic of the records.
        deployment_id: Kafka-ML's id of a deployment; announced unchanged.
        fields: Names of the fields that form a sample, in order.
        label_field: Name of the field that contains the label; empty to put the label into the record's key.
        data_type: NumPy name of the samples' dtype.
        label_type: NumPy name of the labels' dtype.
        options: Arguments of Sink, such as `validation_rate`.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.

    Example:
        >>> with FederatedJsonSink("localhost:9092", "ward7", 1, ["age", "bmi"]) as sink:  # doctest: +SKIP
        ...     sink.send({"age": 71, "bmi": 24.9}, 1)
    """

    format = "JSON"

    @either_spelling
    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        deployment_id: Any,
        fields: Sequence[str],
        *,
        label_field: str = "",
        data_type: str = "float32",
        label_type: str = "int64",
        **options: Any,
    ) -> None:
        types = {"data_type": data_type, "label_type": label_type}
        config = {"fields": list(fields), "label_field": label_field, **types}
        super().__init__(bootstrap_servers, topic, deployment_id, config=config, **options)


class FederatedAvroSink(NamedSink):
    """Send Avro records without their schema, as Kafka-ML does: the sample as the value, the label as the key.

    Args:
        bootstrap_servers: `host:port[,host:port...]`, or a list of `host:port`.
        topic: Topic of the records.
        deployment_id: Kafka-ML's id of a deployment; announced unchanged.
        data_scheme: Avro schema of the samples, as JSON text.
        label_scheme: Avro schema of the labels, as JSON text.
        options: Arguments of Sink, such as `validation_rate`.

    Raises:
        UsageError: A value cannot be announced, or the client's name is invalid.
        BrokerError: No broker answers, or the broker denies access.
    """

    format = "AVRO"

    @either_spelling
    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        deployment_id: Any,
        data_scheme: str,
        label_scheme: str,
        **options: Any,
    ) -> None:
        config = {"data_scheme": data_scheme, "label_scheme": label_scheme}
        super().__init__(bootstrap_servers, topic, deployment_id, config=config, **options)
