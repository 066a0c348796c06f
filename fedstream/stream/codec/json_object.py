"""JSON records.

The value is an object with one number for each column. The label is another field of the object, or the record's key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.canonical import canonical_json, parse_json
from fedstream.record.names import invalid_names
from fedstream.stream.codec.dtypes import dtype_of
from fedstream.stream.records import UNLABELLED, RawRecords, RecordSize

DEPTH = 32
"""Maximum nesting depth of a record, because unused fields can contain anything."""

NUMBER_BYTES = 64
"""Maximum size of a number with its punctuation in bytes; Python writes a float64 in at most 24 bytes."""

OTHER_BYTES = 16 * 1024
"""Maximum size of a record's other fields and whitespace in bytes."""

KEY_BYTES = 1024
"""Maximum size of a key in bytes. A key that is not a label can be, for example, a patient's number."""


@dataclass(frozen=True)
class JsonCodec:
    """The JSON format of one stream.

    Attributes:
        fields: Names of the fields that form a sample, in order.
        label_field: Name of the field that contains the label; empty if the label is the record's key.
        data_dtype: Dtype of a sample.
        label_dtype: Dtype of a label.
    """

    fields: tuple[str, ...]
    label_field: str
    data_dtype: np.dtype[Any]
    label_dtype: np.dtype[Any]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> JsonCodec:
        """Read an announcement's input_config.

        It consists of fields and, optionally, label_field (by default empty), data_type (float32) and label_type
        (int64).

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        fields, label = config.get("fields"), config.get("label_field", "")
        if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
            raise AnnouncementError(
                "input_config.fields: list the names of the fields that make a sample, in their order"
            )
        if not isinstance(label, str):
            raise AnnouncementError(
                "input_config.label_field: name the field that holds the label, "
                "or leave it out where the record's key does"
            )
        if reason := invalid_names([*fields, label] if label else fields):
            raise AnnouncementError(f"input_config.fields: {reason}")
        given = {"data_type": "float32", "label_type": "int64"} | config
        return cls(tuple(fields), label, _number_type(given, "data_type"), _number_type(given, "label_type"))

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> JsonCodec:
        """Infer the format from the first sample and the names of its columns. The label becomes the record's key.

        Raises:
            AnnouncementError: The columns have no names, the sample is not a row of numbers, or the label is not a
                single number.
        """
        if data.shape != (len(names),) or not names:
            raise AnnouncementError(
                f"JSON records have one field for each column, but {len(names)} columns are named (features) "
                f"for samples of shape {data.shape}; name each value of a flat sample, or send RAW records"
            )
        if label.size != 1:
            raise AnnouncementError(
                f"JSON records have one number as their label, but a label has shape {label.shape}; send RAW records"
            )
        return cls.from_config({"fields": list(names), "data_type": data.dtype.name, "label_type": label.dtype.name})

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> JsonCodec:
        """Read the input_config of records for inference, which only requires fields.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config(config)

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        types = {"data_type": self.data_dtype.name, "label_type": self.label_dtype.name}
        return {"fields": list(self.fields), "label_field": self.label_field, **types}

    @property
    def data_shape(self) -> tuple[int, ...]:
        """One number for each field."""
        return (len(self.fields),)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """A scalar."""
        return ()

    @property
    def names(self) -> Sequence[str]:
        """Names of the fields."""
        return self.fields

    @property
    def record_size(self) -> RecordSize:
        """Maximum size of a record in bytes, with all names escaped and some room for unused fields."""
        named = [*self.fields, self.label_field]
        value = OTHER_BYTES + sum(len(json.dumps(name)) + NUMBER_BYTES for name in named)
        return RecordSize(value, KEY_BYTES, keyless=bool(self.label_field))

    @property
    def sample_format(self) -> str:
        """Dtype and names of the fields."""
        return f"{self.data_dtype.name} JSON fields {', '.join(self.fields)}"

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> JsonCodec:
        """Return a codec that reads the same fields in the order of the run's columns."""
        field = dict(zip(own, self.fields, strict=True)) if len(own) == len(self.fields) else {}
        return replace(self, fields=tuple(field[name] for name in wanted)) if field.keys() == set(wanted) else self

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the bytes of the object as the value, and those of the label or a single zero byte as the key.

        Raises:
            RecordError: A value is NaN or infinity, which JSON cannot represent.
        """
        fields = dict(zip(self.fields, sample.tolist(), strict=True))
        target = None if label is None else label.item()
        if self.label_field and target is not None:
            fields[self.label_field] = target
        try:
            return canonical_json(fields), UNLABELLED if self.label_field or target is None else canonical_json(target)
        except ValueError as error:
            raise RecordError(
                "a record holds NaN or infinity, which JSON cannot spell; correct it, or send RAW records"
            ) from error

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, fields) and labels (n,).

        Raises:
            RecordError: A record is not such an object. The message names its topic, partition and offset.
        """
        rows, labels = [], []
        for index, (value, key) in enumerate(zip(records.values, records.keys, strict=True)):
            try:
                found = _object(value)
                rows.append(self._row(found))
                labels.append(self._label(found, key))
            except RecordError as error:
                raise RecordError(f"record {records.where(index)}: {error}. Send it again as announced") from error
        samples = np.array(rows, self.data_dtype).reshape(len(rows), len(self.fields))
        return samples, np.array(labels, self.label_dtype)

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample (fields,).

        Raises:
            RecordError: There is no value, or the value is not such an object.
        """
        if value is None or len(value) > (limit := self.record_size.value):
            raise RecordError(
                "it has no value"
                if value is None
                else f"it has a value of {len(value):,} bytes, expected {limit:,} at most"
            )
        return np.array(self._row(_object(value)), self.data_dtype)

    def _row(self, found: dict[str, Any]) -> list[Any]:
        row = [found.get(name) for name in self.fields]
        bounds = _bounds(self.data_dtype)
        for name, value in zip(self.fields, row, strict=True):
            if problem := _why_none(value, bounds):
                raise RecordError(f"field {name!r} {problem}")
        return row

    def _label(self, found: dict[str, Any], key: bytes) -> Any:
        if self.label_field:
            value, what = found.get(self.label_field), f"field {self.label_field!r}"
        elif key == UNLABELLED:
            raise RecordError("its key is a single zero byte, which marks a record without label")
        else:
            value, what = _key(key), "its key"
        if problem := _why_none(value, _bounds(self.label_dtype)):
            raise RecordError(f"{what} (its label) {problem}")
        return value


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = parse_json(value, DEPTH)
    except ValueError as error:
        raise RecordError(f"its value is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise RecordError(f"its value is JSON of type {type(found).__name__}, expected an object")
    return found


def _key(key: bytes) -> Any:
    try:
        return parse_json(key, 1)
    except ValueError as error:
        raise RecordError("its key (its label) is not JSON") from error


class _Bounds(NamedTuple):
    """The range of a NumPy dtype."""

    low: int | float
    high: int | float
    whole: bool
    name: str


@cache
def _bounds(dtype: np.dtype[Any]) -> _Bounds:
    if dtype.kind == "f":
        return _Bounds(float(np.finfo(dtype).min), float(np.finfo(dtype).max), False, dtype.name)
    return _Bounds(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), True, dtype.name)


def _why_none(value: Any, bounds: _Bounds) -> str:
    """Return why a value is not a number in the range of a dtype, or an empty string.

    The reason describes what was found without revealing the content of the record.
    """
    if type(value) is not float and type(value) is not int:
        return f"is {'missing or null' if value is None else f'a {type(value).__name__}'}, expected a number"
    if not bounds.low <= value <= bounds.high:
        return f"is out of range for {bounds.name}"
    return f"has a fraction, expected {bounds.name}" if bounds.whole and value != int(value) else ""


def _number_type(config: dict[str, Any], field: str) -> np.dtype[Any]:
    dtype = dtype_of(config, field)
    if dtype.kind == "b":
        raise AnnouncementError(
            f"input_config.{field}: 'bool' is not a type of JSON's numbers; announce uint8, and send 0 and 1"
        )
    return dtype
