"""The interface of a codec. Knows nothing of specific formats, Kafka and models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.stream.records import RawRecords, RecordSize


class Codec(Protocol):
    """Write and read the records of one stream.

    A codec is immutable. Whatever bytes it reads, it raises no error other than RecordError, or SchemaRegistryError if
    it has to ask a schema registry, which does not answer.
    """

    @property
    def data_dtype(self) -> np.dtype[Any]:
        """Dtype of a sample: a number, or object for text.

        For a model with several inputs, it is a structured dtype: the name, the dtype and the shape of each input.
        """
        ...

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of a sample; () for several inputs."""
        ...

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """Dtype of a label: a number, or object for the name of a class."""
        ...

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label; () for a scalar."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns of a flat sample, in order, if the records themselves contain them; otherwise empty."""
        ...

    @property
    def record_size(self) -> RecordSize:
        """Size of a record in bytes. Larger records are rejected before they are in memory."""
        ...

    @property
    def sample_format(self) -> str:
        """A short description of how samples are read, regardless of labels.

        Codecs with the same description read the same samples.
        """
        ...

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        ...

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first sample.

        Args:
            data: The sample.
            label: Its label.
            names: Names of the columns of a flat sample.

        Raises:
            AnnouncementError: This format cannot represent such samples.
        """
        ...

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference, which does not have to describe labels.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        ...

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        ...

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return a codec whose samples have their columns in another order, if the records contain names.

        Args:
            own: Names of this stream's columns, in its order.
            wanted: The same names in the requested order.
        """
        ...

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return a record's value and key.

        Args:
            sample: Sample of data_dtype and data_shape.
            label: Label of label_dtype and label_shape; None for a record without a label.

        Raises:
            RecordError: The format cannot represent a value.
        """
        ...

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: A record is not as announced. The message names its topic, partition and offset.
        """
        ...

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: There is no value, or the value is not as announced.
        """
        ...
