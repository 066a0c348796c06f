"""The Kafka side: announcements, offsets, codecs, the reader of slices, and the data owner's sinks.

Does not depend on the object store.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedstream.stream.named_sinks import FederatedAvroSink, FederatedJsonSink
    from fedstream.stream.raw_sinks import FederatedRawSink, OnlineFederatedRawSink

__all__ = ["FederatedAvroSink", "FederatedJsonSink", "FederatedRawSink", "OnlineFederatedRawSink"]

SINKS = {
    "FederatedAvroSink": "named_sinks",
    "FederatedJsonSink": "named_sinks",
    "FederatedRawSink": "raw_sinks",
    "OnlineFederatedRawSink": "raw_sinks",
}
"""Modules of the sinks."""


def __getattr__(name: str) -> Any:
    # The command line imports this package, so numpy is only imported when records are sent.
    if name in SINKS:
        return getattr(import_module(f"{__name__}.{SINKS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
