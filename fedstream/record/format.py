"""How the bytes of a stream's records are laid out, as announcements, spec.json and slices say it. Pure; the codecs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RAW = "RAW"
"""The format of a document that names none: Kafka-ML's, and the only one before documents named theirs."""


@dataclass(frozen=True)
class StreamFormat:
    """A format's name and what it needs to know of a stream.

    Attributes:
        format: name of the codec, such as `RAW`.
        config: the codec's configuration.
    """

    format: str
    config: dict[str, Any]
