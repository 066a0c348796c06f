"""The value or the key of a record as one array: the bytes of the array, or text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.stream.codec.dtypes import dtype_of, label_shape_of, shape_of, shape_text, type_name
from fedstream.stream.records import UNLABELLED, Column, RawRecords

TEXT_BYTES = 1024**2
"""Maximum size of a text in bytes, which is Kafka's default limit for a record."""

NAME_BYTES = 1024
"""Maximum size of a label in bytes that is text: the name of a class."""


@dataclass(frozen=True)
class Part:
    """How the value or the key of a record becomes an array.

    Attributes:
        dtype: Dtype of the array; object for text.
        shape: Shape of the array; () for a scalar.
        what: `value` or `key`.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    what: str

    @property
    def is_text(self) -> bool:
        return self.dtype.kind == "O"

    @property
    def size(self) -> int:
        """Size in bytes; for text, the largest."""
        if self.is_text:
            return TEXT_BYTES if self.what == "value" else NAME_BYTES
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def least(self) -> int:
        """Smallest size in bytes."""
        return 0 if self.is_text else self.size

    def __str__(self) -> str:
        return "text in UTF-8" if self.is_text else f"{self.size} bytes ({type_name(self.dtype)} of shape {self.shape})"

    def encode(self, array: NDArray[Any]) -> bytes:
        """Return the bytes of an array.

        Raises:
            RecordError: It is a text that cannot be sent.
        """
        return to_text(np.asarray(array).item()) if self.is_text else array.tobytes()

    def decode(self, data: bytes) -> NDArray[Any]:
        """Return an array of the shape.

        Raises:
            RecordError: It has the wrong size, or is not text.
        """
        if self.is_text:
            if len(data) > self.size:
                raise RecordError(f"its {self.what} has {len(data):,} bytes, expected {self.size:,} at most")
            return _texts([from_text(data)], ()).reshape(self.shape)
        if len(data) != self.size:
            unlabelled = " (a single zero byte marks a record without label)" if self._is_unlabelled(data) else ""
            raise RecordError(
                f"its {self.what} has {len(data)} bytes{unlabelled}, expected {self.size} "
                f"({type_name(self.dtype)} of shape {self.shape})"
            )
        return np.frombuffer(data, dtype=self.dtype).reshape(self.shape)

    def decode_all(self, column: Column, records: RawRecords) -> NDArray[Any]:
        """Return an array (n, *shape).

        Raises:
            RecordError: A record has the wrong size, or is not text. The message names its topic, partition and offset.
        """
        if self.is_text:
            return _texts([self._text(data, index, records) for index, data in enumerate(column)], self.shape)
        sizes = column.sizes
        if (wrong := np.flatnonzero(sizes != self.size)).size:
            first = int(wrong[0])
            try:
                self.decode(column[first])
            except RecordError as error:
                raise RecordError(
                    f"record {records.where(first)}: {error}; {wrong.size} of {len(sizes)} records are wrong. "
                    "Send it again as announced"
                ) from error
        return np.frombuffer(memoryview(column.data).toreadonly(), dtype=self.dtype).reshape(len(sizes), *self.shape)

    def _text(self, data: bytes, index: int, records: RawRecords) -> str:
        try:
            if self._is_unlabelled(data):
                raise RecordError("its key is a single zero byte, which marks a record without label")
            return from_text(data)
        except RecordError as error:
            raise RecordError(f"record {records.where(index)}: {error}. Send it again as announced") from error

    def _is_unlabelled(self, data: bytes) -> bool:
        return self.what == "key" and data == UNLABELLED


def value_part(config: dict[str, Any]) -> Part:
    """Return how values are read, from data_type and data_reshape of an input_config.

    Raises:
        AnnouncementError: A field is missing or invalid. The message names the field.
    """
    return _part(config, "data", shape_of(config, "data_reshape"), "value")


def label_part(config: dict[str, Any]) -> Part:
    """Return how keys are read, from label_type and label_reshape of an input_config.

    Raises:
        AnnouncementError: A field is missing or invalid. The message names the field.
    """
    return _part(config, "label", label_shape_of(config), "key")


def label_config(label: Part) -> dict[str, str]:
    """Return label_type and label_reshape of an input_config."""
    return {"label_type": type_name(label.dtype), "label_reshape": shape_text(label.shape)}


def to_text(text: Any) -> bytes:
    """Return a text in UTF-8.

    Raises:
        RecordError: It is not text, or it contains a zero byte or half a surrogate pair.
    """
    if not isinstance(text, str) or "\0" in text:
        raise RecordError(f"a text is a {type(text).__name__} or contains a zero byte; send text without zero bytes")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RecordError(f"a text cannot be written in UTF-8 ({error.reason}); correct it") from error


def from_text(data: bytes) -> str:
    """Return the text of UTF-8, or of the bytes of a NumPy array of one text, which is UTF-32 padded with zeros.

    UTF-32 always contains a zero byte, and text in UTF-8 here never does.

    Raises:
        RecordError: The bytes are neither.
    """
    try:
        text = data.decode("utf-32-le").rstrip("\0") if 0 in data else data.decode()
    except UnicodeDecodeError as error:
        raise RecordError("it is not text in UTF-8") from error
    if "\0" in text:
        raise RecordError("it is not text in UTF-8")
    return text


def _part(config: dict[str, Any], name: str, shape: tuple[int, ...], what: str) -> Part:
    dtype = dtype_of(config, f"{name}_type")
    if dtype.kind == "O" and math.prod(shape) != 1:
        raise AnnouncementError(
            f"input_config.{name}_reshape: a record holds one text, which has the shape '1', not {shape_text(shape)!r}"
        )
    return Part(dtype, shape, what)


def _texts(texts: list[str], shape: tuple[int, ...]) -> NDArray[Any]:
    found = np.empty(len(texts), object)
    found[:] = texts
    return found.reshape(len(texts), *shape)
