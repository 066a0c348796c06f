"""Kafka side: announcements, offsets, codecs, the reader of slices, and the data owner's sink. Knows nothing of the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedstream.stream.sink import FederatedRawSink

__all__ = ["FederatedRawSink"]


def __getattr__(name: str) -> Any:
    # The command line imports this package; numpy can wait until something is sent.
    if name == "FederatedRawSink":
        from fedstream.stream.sink import FederatedRawSink

        return FederatedRawSink
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
