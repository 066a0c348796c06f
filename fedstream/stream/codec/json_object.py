"""JSON records: the value is an object, and the label is another field of the object or the record's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson
from numpy.typing import NDArray

from fedstream.errors import RecordError
from fedstream.record.canonical import canonical_json
from fedstream.stream.codec.fields import FieldsCodec
from fedstream.stream.codec.fields_config import KEY, check_label_apart, fields_of_sample, inputs_of, label_of
from fedstream.stream.codec.tensor import Record


@dataclass(frozen=True)
class JsonCodec(FieldsCodec):
    """The JSON format of one stream."""

    kind = "JSON"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        It consists of fields with data_type (by default float32) and data_reshape, or of inputs with these for each
        input of the model, and of label_field (by default empty), label_type (int64) and label_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        inputs, (label, label_field) = inputs_of(config), label_of(config)
        check_label_apart(inputs, label_field)
        return cls(inputs, label, label_field)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first sample and the names of its columns. The label becomes the record's key.

        Raises:
            AnnouncementError: The dtype or shape cannot be announced, or there are names for some columns only.
        """
        return cls.from_config(fields_of_sample(data, label, names))

    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        found = _parsed(values, "value")
        if odd := [type(own).__name__ for own in found if type(own) is not dict]:
            raise RecordError(f"its value is JSON of type {odd[0]}, expected an object")
        return found

    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        return [{KEY: label} for label in _parsed(keys, "key")]

    def write(self, fields: dict[str, Any]) -> bytes:
        return _written(fields)

    def write_key(self, fields: dict[str, Any]) -> bytes:
        return _written(fields[KEY])


def _parsed(parts: Sequence[bytes], what: str) -> list[Any]:
    """Return the values of JSON texts. orjson stops at 1,024 levels, and nothing here walks through unused fields."""
    try:
        return list(map(orjson.loads, parts))
    except ValueError as error:
        raise RecordError(f"its {what} is not JSON ({error})") from error


def _written(value: Any) -> bytes:
    try:
        return canonical_json(value)
    except ValueError as error:
        raise RecordError(
            "a record holds NaN or infinity, which JSON cannot spell; correct it, or send RAW records"
        ) from error
