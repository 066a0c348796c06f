"""Kafka-ML's RAW format: `ndarray.tobytes()` of the sample as the record's value, and of the label as its key.

A whole slice is decoded at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.stream.codec.dtypes import dtype_of
from fedstream.stream.records import UNLABELLED, Column, RawRecords, RecordSize

DIMENSIONS = 16
"""Maximum number of dimensions of a sample; Keras' layers accept up to five."""
VALUES = 4 * 1024**2
"""Maximum number of values in a sample, which is 32 MiB of float64. Kafka's default limit is 1 MiB per record."""


@dataclass(frozen=True)
class RawCodec:
    """The RAW format of one stream.

    Attributes:
        data_dtype: Dtype of a sample.
        data_shape: Shape of a sample.
        label_dtype: Dtype of a label.
        label_shape: Shape of a label; () for a scalar.
    """

    data_dtype: np.dtype[Any]
    data_shape: tuple[int, ...]
    label_dtype: np.dtype[Any]
    label_shape: tuple[int, ...]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RawCodec:
        """Read an announcement's input_config: data_type, data_reshape, label_type and label_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        label_shape = _shape(config, "label_reshape")
        scalar = label_shape == (1,)
        return cls(
            dtype_of(config, "data_type"),
            _shape(config, "data_reshape"),
            dtype_of(config, "label_type"),
            () if scalar else label_shape,
        )

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> RawCodec:
        """Infer the format from the first sample, like Kafka-ML's sink. It does not include the names of columns.

        Raises:
            AnnouncementError: The dtype or shape cannot be announced.
        """
        return cls.from_config(cls(data.dtype, data.shape, label.dtype, label.shape).config())

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> RawCodec:
        """Read the input_config of records for inference, which only requires data_type and data_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config({"label_type": "uint8", "label_reshape": "1"} | config)

    def config(self) -> dict[str, str]:
        """Return the announcement's input_config. The shape of a scalar is "1"."""
        return {
            "data_type": self.data_dtype.name,
            "label_type": self.label_dtype.name,
            "data_reshape": " ".join(map(str, self.data_shape)) or "1",
            "label_reshape": " ".join(map(str, self.label_shape)) or "1",
        }

    @property
    def record_size(self) -> RecordSize:
        """Size of each record in bytes."""
        value, key = _bytes(self.data_dtype, self.data_shape), _bytes(self.label_dtype, self.label_shape)
        return RecordSize(value, key, least=value + key)

    @property
    def names(self) -> Sequence[str]:
        """Always empty, because the bytes of an array do not contain names."""
        return ()

    @property
    def sample_format(self) -> str:
        """Dtype and shape of a sample."""
        return f"{self.data_dtype.name} {' '.join(map(str, self.data_shape)) or '1'}"

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> RawCodec:
        """Return this codec, because records without names keep the order in which their columns were sent."""
        return self

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the bytes of the sample as the value and those of the label as the key."""
        return sample.tobytes(), UNLABELLED if label is None else label.tobytes()

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: A sample or label has the wrong size. The message names its topic, partition and offset.
        """
        samples = _decode(records.values, self.data_dtype, self.data_shape, records, "value")
        return samples, _decode(records.keys, self.label_dtype, self.label_shape, records, "key")

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: There is no value, or the value has the wrong size.
        """
        size = self.record_size.value
        if value is None or len(value) != size:
            found = "no value" if value is None else f"a value of {len(value)} bytes"
            raise RecordError(
                f"it has {found}, expected {size} bytes ({self.data_dtype.name} of shape {self.data_shape})"
            )
        return np.frombuffer(value, dtype=self.data_dtype).reshape(self.data_shape)


def _decode(
    column: Column, dtype: np.dtype[Any], shape: tuple[int, ...], records: RawRecords, what: str
) -> NDArray[Any]:
    size, sizes = _bytes(dtype, shape), column.sizes
    if (wrong := np.flatnonzero(sizes != size)).size:
        first = int(wrong[0])
        unlabelled = (
            " (a single zero byte marks a record without label)" if what == "key" and column[first] == b"\0" else ""
        )
        raise RecordError(
            f"record {records.where(first)}: its {what} has {sizes[first]} bytes{unlabelled}, "
            f"expected {size} ({dtype.name} of shape {shape}); "
            f"{wrong.size} of {len(sizes)} records are wrong. Send it again as announced"
        )
    return np.frombuffer(memoryview(column.data).toreadonly(), dtype=dtype).reshape(len(sizes), *shape)


def _bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


def _shape(config: dict[str, Any], field: str) -> tuple[int, ...]:
    text = str(config.get(field, ""))
    parts = text.split()
    if not parts or not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} is not a shape; expected whole numbers such as '28 28'"
        )
    shape = tuple(map(int, parts))
    if len(shape) > DIMENSIONS or math.prod(shape) > VALUES:
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} has {len(shape)} dimensions and {math.prod(shape):,} values; "
            f"at most {DIMENSIONS} and {VALUES:,} make a record"
        )
    return shape
