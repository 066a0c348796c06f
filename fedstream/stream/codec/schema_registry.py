"""Ask a schema registry for the schema of an id.

Announcements are written by anyone who can write to a control topic, so only addresses are asked that the settings of
this process name in SCHEMA_REGISTRY_URL.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html#get--schemas-ids-int-%20id
"""

from __future__ import annotations

import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fedstream.errors import AnnouncementError, RecordError, SchemaRegistryError
from fedstream.record.canonical import parse_json
from fedstream.settings import schema_registries
from fedstream.stream.codec.avro_schema import DEPTH, SCHEMA_BYTES

if TYPE_CHECKING:
    import urllib3

CONNECT_S, READ_S, TOTAL_S = 5.0, 10.0, 20.0
"""Seconds to wait for a connection, for the next bytes, and for an answer as a whole."""

ANSWER_BYTES = 4 * SCHEMA_BYTES
"""Maximum size of an answer in bytes: a schema as a JSON string, with quotes escaped."""

ADDRESS_CHARS = 500
"""Maximum length of an address."""


def registry_address(address: Any) -> str:
    """Return the address of a registry as an announcement contains it, if it is one, without a slash at its end.

    Raises:
        AnnouncementError: It is not an address of a schema registry, or it contains a password.
    """
    if address == "":
        return ""
    try:
        if not isinstance(address, str) or len(address) > ADDRESS_CHARS or not address.isprintable():
            raise ValueError("no text")
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if not valid or parts.username or parts.password or parts.query or parts.fragment or " " in address:
            raise ValueError("no address")
    except ValueError as error:
        raise AnnouncementError(
            "input_config.registry: give the address of a schema registry, such as 'http://registry:8081', "
            "without a user or password"
        ) from error
    return address.rstrip("/")


def fetch_schema(address: str, number: int) -> str:
    """Return the text of the Avro schema with an id. Each is asked for once, because ids are never reused.

    Raises:
        SchemaRegistryError: The settings do not name this address, or the registry does not answer.
        RecordError: The registry has no Avro schema of this id.
    """
    if address not in schema_registries():
        raise SchemaRegistryError(
            f"the stream's schemas are at {address}, which SCHEMA_REGISTRY_URL does not name, so it is not asked; "
            "set the variable, or announce the schemas"
        )
    return _fetch(address, number)


@lru_cache(maxsize=1024)
def _fetch(address: str, number: int) -> str:
    status, data = _get(f"{address}/schemas/ids/{number}")
    if status == 404:
        raise RecordError(f"its schema {number} is not in the registry {address}")
    try:
        document = parse_json(data, DEPTH) if status == 200 else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
        raise SchemaRegistryError(f"the schema registry {address} answers status {status} without a schema")
    kind = document.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise RecordError(f"its schema {number} in the registry {address} is not of the type AVRO")
    if document.get("references"):
        raise RecordError(f"its schema {number} in the registry {address} refers to others; announce it in schemas")
    return str(document["schema"])


@cache
def _pool() -> urllib3.PoolManager:
    import urllib3

    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S), retries=False, maxsize=2)


def _get(url: str) -> tuple[int, bytes]:
    """Return the status and the body of an answer. A redirection is an answer, and is not followed."""
    import urllib3

    headers = {"Accept": "application/vnd.schemaregistry.v1+json"}
    deadline, body = time.monotonic() + TOTAL_S, b""
    try:
        response = _pool().request("GET", url, headers=headers, redirect=False, preload_content=False)
        try:
            while part := response.read1(ANSWER_BYTES + 1 - len(body), decode_content=False):
                body += part
                if len(body) > ANSWER_BYTES or time.monotonic() > deadline:
                    raise SchemaRegistryError(
                        f"the answer of the schema registry to {url} is larger than {ANSWER_BYTES:,} bytes "
                        f"or takes longer than {TOTAL_S:.0f} s"
                    )
        finally:
            response.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise SchemaRegistryError(
            f"the schema registry does not answer {url} ({type(error).__name__}); "
            "check the address in SCHEMA_REGISTRY_URL, and that it is reachable from here"
        ) from error
    return response.status, body
