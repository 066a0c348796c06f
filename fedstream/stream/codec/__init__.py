"""Codecs: how the bytes of Kafka records become arrays."""

from __future__ import annotations

from typing import Any

from fedstream.errors import AnnouncementError
from fedstream.stream.codec.raw import RawCodec

__all__ = ["RawCodec", "get_codec"]


def get_codec(input_format: str, input_config: dict[str, Any]) -> RawCodec:
    """Return the codec of an announcement.

    Raises:
        AnnouncementError: the format is not offered, or its configuration is wrong.
    """
    if input_format != "RAW":
        raise AnnouncementError(f"input_format: {input_format!r} is not offered; send RAW records")
    return RawCodec.from_config(input_config)
