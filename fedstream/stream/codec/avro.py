"""AVRO records as Kafka-ML sends them: schemaless binary data, with the schemas in the announcement."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.stream.codec.avro_schema import field_types, parsed_schema, schema_text
from fedstream.stream.codec.fields import FieldsCodec
from fedstream.stream.codec.fields_config import (
    KEY,
    SAMPLE,
    check_label_apart,
    fields_of_sample,
    inputs_of,
    label_field_of,
    label_of,
)
from fedstream.stream.codec.tensor import Record

BINARY = ("bytes", "fixed")
"""Types that contain the bytes of an array."""

LABEL = "label"
"""Name of the field of a label that is sent here."""


@dataclass(frozen=True)
class AvroCodec(FieldsCodec):
    """The AVRO format of one stream.

    Attributes:
        data_scheme: Avro schema of a value, a record, as JSON.
        label_scheme: Avro schema of a key; empty if the label is a field of the value.
    """

    data_scheme: str
    label_scheme: str

    kind = "AVRO"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        It consists of data_scheme and label_scheme, as Kafka-ML announces them, and optionally of what the JSON format
        has: fields (by default all of data_scheme) with data_type and data_reshape, or inputs; label_field instead of
        label_scheme; label_type (by default that of the schema) and label_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        data, types = announced_schema(config, "data_scheme")
        if not types:
            raise AnnouncementError("input_config.data_scheme: give the schema of a record with fields")
        label_field = label_field_of(config)
        rest = [name for name in types if name != label_field]
        inputs = inputs_of({"fields": rest} | config)
        for name in (name for _, tensor in inputs for name in tensor.fields):
            if name not in types:
                raise AnnouncementError(f"input_config.fields: data_scheme has no field {name!r}")
        if label_field:
            if label_field not in types:
                raise AnnouncementError(f"input_config.label_field: data_scheme has no field {label_field!r}")
            label_scheme, label_types = "", {label_field: types[label_field]}
        else:
            label_scheme, label_types = announced_schema(config, "label_scheme")
        label, _ = label_of({"label_type": label_type(label_types.values())} | config, list(label_types))
        check_label_apart(inputs, label_field)
        return cls(inputs, label, label_field, data, label_scheme)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer schemas from the first sample: a field for each named column, or the bytes of the whole array.

        Raises:
            AnnouncementError: The dtype cannot be announced, or Avro does not allow a name.
        """
        schemes = {"data_scheme": sample_scheme(data, names), "label_scheme": record_scheme({LABEL: label})}
        return cls.from_config(fields_of_sample(data, label, names) | schemes)

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference, which only requires data_scheme.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config({"label_scheme": '"long"'} | config)

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        label = {"label_scheme": self.label_scheme} if self.label_scheme else {}
        return super().config() | {"data_scheme": self.data_scheme} | label

    @property
    def binary(self) -> Collection[str]:
        """Names of the fields that contain the bytes of an array."""
        types = field_types(parsed_schema(self.data_scheme))
        if self.label_scheme:
            types = types | key_types(parsed_schema(self.label_scheme))
        return [name for name, kind in types.items() if kind in BINARY]

    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        return read_avro(values, parsed_schema(self.data_scheme), "value")

    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        schema = parsed_schema(self.label_scheme)
        return as_records(read_avro(keys, schema, "key"), schema)

    def write(self, fields: dict[str, Any]) -> bytes:
        return write_avro(fields, parsed_schema(self.data_scheme))

    def write_key(self, fields: dict[str, Any]) -> bytes:
        return write_avro(fields.get(KEY, fields), parsed_schema(self.label_scheme))


def announced_schema(config: Mapping[str, Any], field: str) -> tuple[str, dict[str, str]]:
    """Return the schema in a field of an input_config as text, and the types of its fields.

    Raises:
        AnnouncementError: There is no schema, or one that cannot be used. The message names the field.
    """
    try:
        text = schema_text(config.get(field))
        schema = parsed_schema(text)
    except ValueError as error:
        raise AnnouncementError(f"input_config.{field}: {error}") from error
    return text, field_types(schema) if field == "data_scheme" else key_types(schema)


def key_types(schema: Any) -> dict[str, str]:
    """Return the type of each field of a key; a key that is no record has one field without a name."""
    return field_types(schema) or {KEY: str(schema.get("type") if isinstance(schema, Mapping) else schema)}


def label_type(types: Collection[str]) -> str:
    """Return the default type of a label whose fields have these types."""
    if set(types) <= {"string", "enum"}:
        return "string"
    return "float32" if set(types) & {"float", "double"} else "int64"


def sample_scheme(data: NDArray[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a schema for samples: with a field for each column or each input, or one for the whole sample."""
    if data.dtype.names:
        return record_scheme({name: data[name] for name in data.dtype.names})
    return record_scheme(dict.fromkeys(names, data.ravel()[:1]) if names else {SAMPLE: data})


def record_scheme(fields: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return a schema whose fields contain one value, or the bytes of an array of more.

    Avro has no whole numbers above those of int64, whose bytes are sent as well.
    """
    kinds = {"f": "double", "b": "boolean", "O": "string", "U": "string"}
    types = {
        name: "bytes" if own.size != 1 or own.dtype == np.uint64 else kinds.get(own.dtype.kind, "long")
        for name, own in fields.items()
    }
    return {
        "type": "record",
        "name": "record",
        "fields": [{"name": name, "type": kind} for name, kind in types.items()],
    }


def read_avro(parts: Sequence[bytes], schema: Any, what: str) -> list[Any]:
    """Return the data of each part.

    Raises:
        RecordError: A part is not data of the schema.
    """
    from fastavro import schemaless_reader

    found, left = [], 0
    try:
        for part in parts:
            stream = io.BytesIO(part)
            found.append(schemaless_reader(stream, schema, None))
            left += len(part) - stream.tell()
    except Exception as error:  # whatever bytes from outside make the library raise; its message may quote them
        raise RecordError(f"its {what} is not Avro of the announced schema ({type(error).__name__})") from error
    if left:
        raise RecordError(f"its {what} is not Avro of the announced schema ({left:,} bytes are left)")
    return found


def write_avro(datum: Any, schema: Any) -> bytes:
    """Return data in Avro's binary encoding.

    Raises:
        RecordError: The schema cannot represent a value.
    """
    from fastavro import schemaless_writer

    stream = io.BytesIO()
    try:
        schemaless_writer(stream, schema, datum)
    except Exception as error:  # whatever a value outside the schema makes the library raise
        raise RecordError(f"the schema cannot represent a record ({type(error).__name__})") from error
    return stream.getvalue()


def as_records(data: Sequence[Any], schema: Any) -> Sequence[Record]:
    """Return data of a key as records; data that is no record becomes a field without a name."""
    return data if field_types(schema) else [{KEY: datum} for datum in data]
