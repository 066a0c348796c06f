"""The Kafka side: announcements, offsets, codecs, the reader of slices, and the data owner's sink.

Does not depend on the object store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedstream.stream.sink import FederatedRawSink

__all__ = ["FederatedRawSink"]


def __getattr__(name: str) -> Any:
    # The command line imports this package, so numpy is only imported when records are sent.
    if name == "FederatedRawSink":
        from fedstream.stream.sink import FederatedRawSink

        return FederatedRawSink
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
