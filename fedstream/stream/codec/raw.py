"""Kafka-ML's RAW format: `ndarray.tobytes()`, the sample as the record's value and the label as its key. Decoded a slice at a time."""

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
"""Of a sample: Keras' layers take five."""
VALUES = 4 * 1024**2
"""Numbers in a sample, 32 MiB of float64: Kafka's brokers take records of 1 MiB unless told otherwise."""


@dataclass(frozen=True)
class RawCodec:
    """The RAW format of one stream.

    Attributes:
        data_dtype: of a sample.
        data_shape: of a sample.
        label_dtype: of a label.
        label_shape: of a label; () for a scalar.
    """

    data_dtype: np.dtype[Any]
    data_shape: tuple[int, ...]
    label_dtype: np.dtype[Any]
    label_shape: tuple[int, ...]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RawCodec:
        """Read an announcement's input_config: data_type, data_reshape, label_type, label_reshape.

        Raises:
            AnnouncementError: names the field that is missing or wrong.
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
        """Infer the format from the first sample, as Kafka-ML's sink does; names of columns are not part of it.

        Raises:
            AnnouncementError: its type or shape cannot be announced.
        """
        return cls.from_config(cls(data.dtype, data.shape, label.dtype, label.shape).config())

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> RawCodec:
        """Read the input_config of records to predict: data_type and data_reshape are enough.

        Raises:
            AnnouncementError: names the field that is missing or wrong.
        """
        return cls.from_config({"label_type": "uint8", "label_reshape": "1"} | config)

    def config(self) -> dict[str, str]:
        """Return the announcement's input_config; a scalar's shape is "1"."""
        return {
            "data_type": self.data_dtype.name,
            "label_type": self.label_dtype.name,
            "data_reshape": " ".join(map(str, self.data_shape)) or "1",
            "label_reshape": " ".join(map(str, self.label_shape)) or "1",
        }

    @property
    def record_size(self) -> RecordSize:
        """Bytes of each record."""
        value, key = _bytes(self.data_dtype, self.data_shape), _bytes(self.label_dtype, self.label_shape)
        return RecordSize(value, key, least=value + key)

    @property
    def names(self) -> Sequence[str]:
        """None: the bytes of an array carry no names."""
        return ()

    @property
    def sample_format(self) -> str:
        """Type and shape of a sample."""
        return f"{self.data_dtype.name} {' '.join(map(str, self.data_shape)) or '1'}"

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> RawCodec:
        """Return this codec: records without names have their columns in the order in which they are sent."""
        return self

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the bytes of a sample and of its label."""
        return sample.tobytes(), UNLABELLED if label is None else label.tobytes()

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: a sample or label has the wrong size; names topic, partition and offset.
        """
        samples = _decode(records.values, self.data_dtype, self.data_shape, records, "value")
        return samples, _decode(records.keys, self.label_dtype, self.label_shape, records, "key")

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: there is none, or it has the wrong size.
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
            f"record {records.where(first)}: its {what} has {sizes[first]} bytes{unlabelled}, expected {size} ({dtype.name} of shape {shape}); "
            f"{wrong.size} of {len(sizes)} records are wrong. Send it again as announced"
        )
    return np.frombuffer(b"".join(column.chunks), dtype=dtype).reshape(len(sizes), *shape)


def _bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


def _shape(config: dict[str, Any], field: str) -> tuple[int, ...]:
    text = str(config.get(field, ""))
    parts = text.split()
    if not parts or not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} is no shape; expected whole numbers such as '28 28'"
        )
    shape = tuple(map(int, parts))
    if len(shape) > DIMENSIONS or math.prod(shape) > VALUES:
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} has {len(shape)} dimensions and {math.prod(shape):,} values; "
            f"at most {DIMENSIONS} and {VALUES:,} make a record"
        )
    return shape
