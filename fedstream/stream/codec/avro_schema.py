"""Avro schemas from announcements and registries: checked, so that no bytes can make a decoder hang or overflow.

Avro 1.12 specification: https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fedstream.record.canonical import canonical_json, parse_json

SCHEMA_BYTES = 64 * 1024
"""Maximum size of a schema in bytes."""

DEPTH = 32
"""Maximum nesting depth of a schema, including its JSON."""

TYPES = 2_000
"""Maximum number of types in a schema, where a named type counts wherever it is used."""

LEAST = {"null": 0, "float": 4, "double": 8}
"""Smallest encodings of primitive types in bytes; those of all others have one byte or more."""

FIXED_BYTES = 4 * 1024**2
"""Maximum size of a fixed type in bytes."""


class Unsafe(ValueError):
    """Bytes could make a decoder with this schema hang or overflow."""


def schema_text(schema: Any) -> str:
    """Return a schema, which an announcement contains as text or as JSON, as text.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(schema, str):
        return schema
    if isinstance(schema, dict | list):
        return canonical_json(schema).decode()
    raise ValueError("give the text of an Avro schema")


@lru_cache(maxsize=256)
def parsed_schema(text: str) -> Any:
    """Return a schema as fastavro reads it, without logical types, whose numbers are read as they are stored.

    Raises:
        ValueError: It is not a schema, is too large, refers to itself, or has arrays whose items have no bytes.
    """
    import fastavro

    if len(text) > SCHEMA_BYTES:
        raise ValueError(f"the schema has {len(text):,} characters, expected {SCHEMA_BYTES:,} at most")
    document = _document(text)
    try:
        parsed = fastavro.parse_schema(_without_logical_types(document), named_schemas={})
        _Check().least(parsed, DEPTH)
    except Unsafe:
        raise
    except Exception as error:  # whatever a schema from outside makes the library raise
        raise ValueError(f"it is not an Avro schema ({str(error) or type(error).__name__})") from error
    return parsed


def field_types(schema: Any) -> dict[str, str]:
    """Return the type of each field of a record, such as `double`; that of an optional field is the type if present.

    The result is empty for a schema that is no record.
    """
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        return {}
    return {own["name"]: type_of(own["type"]) for own in schema["fields"]}


def type_of(schema: Any) -> str:
    """Return the name of a type: `double`, `array`, `record`."""
    if isinstance(schema, list):
        present = [own for own in schema if type_of(own) != "null"]
        return type_of(present[0]) if len(present) == 1 else "union"
    return type_of(schema["type"]) if isinstance(schema, Mapping) else str(schema)


def _document(text: str) -> Any:
    try:
        return parse_json(text, DEPTH)
    except ValueError as error:
        if text.isidentifier():  # a primitive type may be named without quotes
            return text
        raise ValueError(f"the schema is not JSON ({error})") from error


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(own) for own in schema]
    if isinstance(schema, dict):
        return {name: _without_logical_types(own) for name, own in schema.items() if name != "logicalType"}
    return schema


@dataclass
class _Check:
    """A walk through a parsed schema, in which names are qualified and defined before they are used.

    Attributes:
        named: The named types so far.
        inside: Names of the types that are being defined.
        types: Number of types so far.
    """

    named: dict[str, Any] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    types: int = 0

    def least(self, schema: Any, depth: int) -> int:
        """Return the size of the smallest encoding in bytes.

        Raises:
            Unsafe: The schema is not safe to decode with.
        """
        self.types += 1
        if self.types > TYPES:
            raise Unsafe(f"the schema has more than {TYPES:,} types")
        if not depth:
            raise Unsafe(f"the schema is nested deeper than {DEPTH} levels")
        if isinstance(schema, list):
            return 1 + min((self.least(own, depth - 1) for own in schema), default=0)
        if isinstance(schema, str):
            return self._reference(schema, depth)
        return self._defined(schema, depth)

    def _reference(self, name: str, depth: int) -> int:
        if name in self.inside:
            raise Unsafe(f"type {name!r} of the schema contains itself")
        return self.least(self.named[name], depth - 1) if name in self.named else LEAST.get(name, 1)

    def _defined(self, schema: Mapping[str, Any], depth: int) -> int:
        kind = schema["type"]
        if kind == "array":
            if not self.least(schema["items"], depth - 1):
                raise Unsafe("the schema has an array whose items have no bytes")
            return 1
        if kind == "map":
            self.least(schema["values"], depth - 1)
            return 1
        if kind in ("record", "error", "enum", "fixed"):
            return self._named(schema, depth)
        return self.least(kind, depth - 1)

    def _named(self, schema: Mapping[str, Any], depth: int) -> int:
        name, size = schema["name"], 1
        self.inside.add(name)
        if schema["type"] == "fixed":
            size = schema["size"]
            if not 0 <= size <= FIXED_BYTES:
                raise Unsafe(f"type {name!r} of the schema has {size:,} bytes, expected {FIXED_BYTES:,} at most")
        elif schema["type"] != "enum":
            size = sum(self.least(own["type"], depth - 1) for own in schema["fields"])
        self.inside.discard(name)
        self.named[name] = schema
        return size
