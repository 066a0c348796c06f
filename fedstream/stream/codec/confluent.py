"""AVRO and JSON records in Confluent's wire format: a zero byte, the id of a schema in 4 bytes, and the data.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.stream.codec.avro import BINARY, LABEL, label_type, read_avro, record_scheme, sample_scheme, write_avro
from fedstream.stream.codec.avro_schema import field_types, parsed_schema, schema_text
from fedstream.stream.codec.fields import FieldsCodec
from fedstream.stream.codec.fields_config import (
    KEY,
    check_label_apart,
    fields_of_sample,
    inputs_of,
    label_field_of,
    label_of,
)
from fedstream.stream.codec.json_object import JsonCodec
from fedstream.stream.codec.schema_registry import fetch_schema, registry_address
from fedstream.stream.codec.tensor import Record

HEAD_BYTES = 5
"""Size of the zero byte and the schema id."""

SCHEMAS = 64
"""Maximum number of schemas in an announcement, and of different ids in records that are decoded together."""

MAX_ID = 2**32 - 1


@dataclass(frozen=True)
class ConfluentAvroCodec(FieldsCodec):
    """The CONFLUENT_AVRO format of one stream.

    Attributes:
        schemas: Schemas that the announcement contains, by id.
        registry: Address of the schema registry that has all other schemas; empty for none.
    """

    schemas: tuple[tuple[int, str], ...]
    registry: str

    kind = "CONFLUENT_AVRO"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        It consists of schemas (an object: id -> schema) or registry (an address), or both, and of what the JSON format
        has. The default of fields is all those of the first schema but the label's.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        schemas, registry = _schemas(config), registry_address(config.get("registry") or "")
        if not schemas and not registry:
            raise AnnouncementError(
                "input_config.schemas: give the schemas by their ids, or the address of their registry in registry"
            )
        types = field_types(parsed_schema(schemas[0][1])) if schemas else {}
        label_field = label_field_of(config)
        known = {"label_type": label_type([types[label_field]])} if label_field in types else {}
        label, _ = label_of(known | config)
        rest = {"fields": [name for name in types if name != label_field]} if types else {}
        inputs = inputs_of(rest | config)
        check_label_apart(inputs, label_field)
        return cls(inputs, label, label_field, schemas, registry)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer a schema from the first sample, with the label as a field, under the id 1.

        Raises:
            AnnouncementError: The dtype cannot be announced, or Avro does not allow a name.
        """
        own, (target,) = sample_scheme(data, names), record_scheme({LABEL: label})["fields"]
        own["fields"].append({**target, "type": ["null", target["type"]]})  # a record without label has none
        config = {"label_field": LABEL, "schemas": {"1": own}}
        return cls.from_config(fields_of_sample(data, label, names) | config)

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        registry = {"registry": self.registry} if self.registry else {}
        schemas = {"schemas": {str(number): text for number, text in self.schemas}} if self.schemas else {}
        return super().config() | schemas | registry

    @property
    def binary(self) -> Collection[str]:
        """Names of the fields that contain the bytes of an array."""
        types = field_types(parsed_schema(self.schemas[0][1])) if self.schemas else {}
        return [name for name, kind in types.items() if kind in BINARY]

    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        found = self._data(values, "value")
        if odd := [type(own).__name__ for own in found if type(own) is not dict]:
            raise RecordError(f"its value is Avro of type {odd[0]}, expected a record")
        return found

    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        found = self._data(keys, "key")
        single = [next(iter(own.values())) if type(own) is dict and len(own) == 1 else own for own in found]
        return [{KEY: label} for label in single]

    def write(self, fields: dict[str, Any]) -> bytes:
        if not self.schemas:
            raise RecordError("records are written with a schema of the announcement; give it in schemas")
        number, text = self.schemas[0]
        return framed(number, write_avro(fields, parsed_schema(text)))

    def write_key(self, fields: dict[str, Any]) -> bytes:
        raise RecordError("labels are written as a field of the value; name it in label_field")

    def _data(self, parts: Sequence[bytes], what: str) -> Sequence[Any]:
        """Return the data of each part, which has been written with the schema of its id."""
        heads = unframed(parts, what)
        if len(ids := sorted({number for number, _ in heads})) > SCHEMAS:
            raise RecordError(f"{len(ids)} schemas are used by {len(parts):,} records, expected {SCHEMAS} at most")
        found: list[Any] = [None] * len(parts)
        for number in ids:
            own = [index for index, head in enumerate(heads) if head[0] == number]
            data = read_avro([heads[index][1] for index in own], self._schema(number), what)
            for index, datum in zip(own, data, strict=True):
                found[index] = datum
        return found

    def _schema(self, number: int) -> Any:
        text = dict(self.schemas).get(number)
        if text is None and not self.registry:
            raise RecordError(f"its schema has the id {number}, which is none of the announced ones")
        try:
            return parsed_schema(fetch_schema(self.registry, number) if text is None else text)
        except ValueError as error:
            raise RecordError(f"its schema {number} of {self.registry} cannot be used: {error}") from error


@dataclass(frozen=True)
class ConfluentJsonCodec(JsonCodec):
    """The CONFLUENT_JSON format of one stream.

    JSON is read without its schema: the fields are checked as announced.

    Attributes:
        schema_id: Id of the schema with which records are written; any id is read.
    """

    schema_id: int = 1

    kind = "CONFLUENT_JSON"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config: what the JSON format has, and optionally schema_id.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        own, number = JsonCodec.from_config(config), config.get("schema_id", 1)
        if type(number) is not int or not 0 <= number <= MAX_ID:
            raise AnnouncementError(f"input_config.schema_id: give a whole number from 0 to {MAX_ID}")
        return cls(own.inputs, own.label, own.label_field, number)

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        return super().config() | {"schema_id": self.schema_id}

    def read(self, values: Sequence[bytes]) -> Sequence[Record]:
        return super().read([data for _, data in unframed(values, "value")])

    def read_keys(self, keys: Sequence[bytes]) -> Sequence[Record]:
        return super().read_keys([data for _, data in unframed(keys, "key")])

    def write(self, fields: dict[str, Any]) -> bytes:
        return framed(self.schema_id, super().write(fields))

    def write_key(self, fields: dict[str, Any]) -> bytes:
        return framed(self.schema_id, super().write_key(fields))


def framed(number: int, data: bytes) -> bytes:
    """Return data with the id of its schema in front."""
    return b"\0" + number.to_bytes(4, "big") + data


def unframed(parts: Sequence[bytes], what: str) -> list[tuple[int, bytes]]:
    """Return the id of the schema and the data of each part.

    Raises:
        RecordError: A part does not begin with a zero byte and an id.
    """
    if any(len(part) < HEAD_BYTES or part[0] for part in parts):
        raise RecordError(f"its {what} does not begin with a zero byte and a schema id, which Confluent's format has")
    return [(int.from_bytes(part[1:HEAD_BYTES], "big"), part[HEAD_BYTES:]) for part in parts]


def _schemas(config: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    given = config.get("schemas", {})
    if not isinstance(given, dict) or len(given) > SCHEMAS:
        raise AnnouncementError(f"input_config.schemas: give an object, id -> schema, with {SCHEMAS} entries at most")
    found = {}
    for number, schema in given.items():
        if not (number.isascii() and number.isdecimal() and len(number) < 11 and int(number) <= MAX_ID):
            raise AnnouncementError(f"input_config.schemas: {number[:100]!r} is no id; give whole numbers")
        try:
            found[int(number)] = schema_text(schema)
            parsed_schema(found[int(number)])
        except ValueError as error:
            raise AnnouncementError(f"input_config.schemas.{number}: {error}") from error
    return tuple(found.items())
