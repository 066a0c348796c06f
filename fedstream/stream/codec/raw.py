"""Kafka-ML's RAW format: `ndarray.tobytes()` of the sample as the record's value, and of the label as its key.

A whole slice is decoded at once. A text (`string`) is in UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.stream.codec.dtypes import described, layout_of, shape_text, type_name
from fedstream.stream.codec.part import Part, label_config, label_part, value_part
from fedstream.stream.records import UNLABELLED, RawRecords, RecordSize


@dataclass(frozen=True)
class RawCodec:
    """The RAW format of one stream.

    Attributes:
        data_dtype: Dtype of a sample; object for text.
        data_shape: Shape of a sample.
        label_dtype: Dtype of a label; object for text.
        label_shape: Shape of a label; () for a scalar.
    """

    data_dtype: np.dtype[Any]
    data_shape: tuple[int, ...]
    label_dtype: np.dtype[Any]
    label_shape: tuple[int, ...]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config: data_type, data_reshape, label_type and label_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        value, key = value_part(config), label_part(config)
        return cls(value.dtype, value.shape, key.dtype, key.shape)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first sample, like Kafka-ML's sink. It does not include the names of columns.

        Raises:
            AnnouncementError: The dtype or shape cannot be announced.
        """
        return cls.from_config(layout_of(data, "data") | layout_of(label, "label"))

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference, which only requires data_type and data_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config({"label_type": "uint8", "label_reshape": "1"} | config)

    def config(self) -> dict[str, str]:
        """Return the announcement's input_config. The shape of a scalar is "1"."""
        value = {"data_type": type_name(self.data_dtype), "data_reshape": shape_text(self.data_shape)}
        return value | label_config(self.key)

    @property
    def value(self) -> Part:
        """How values are read."""
        return Part(self.data_dtype, self.data_shape, "value")

    @property
    def key(self) -> Part:
        """How keys are read."""
        return Part(self.label_dtype, self.label_shape, "key")

    @property
    def record_size(self) -> RecordSize:
        """Size of each record in bytes."""
        return RecordSize(self.value.size, self.key.size, least=self.value.least + self.key.least)

    @property
    def names(self) -> Sequence[str]:
        """Always empty, because the bytes of an array do not contain names."""
        return ()

    @property
    def sample_format(self) -> str:
        """Dtype and shape of a sample."""
        return described(self.data_dtype, self.data_shape)

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return this codec, because records without names keep the order in which their columns were sent."""
        return self

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the bytes of the sample as the value and those of the label as the key.

        Raises:
            RecordError: A text cannot be sent.
        """
        return self.value.encode(sample), UNLABELLED if label is None else self.key.encode(label)

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: A sample or label has the wrong size. The message names its topic, partition and offset.
        """
        samples = self.value.decode_all(records.values, records)
        return samples, self.key.decode_all(records.keys, records)

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: There is no value, or the value has the wrong size.
        """
        part = self.value
        if value is None:
            raise RecordError(f"it has no value, expected {part}")
        if not part.is_text and len(value) != part.size:
            raise RecordError(f"it has a value of {len(value)} bytes, expected {part}")
        return part.decode(value)
