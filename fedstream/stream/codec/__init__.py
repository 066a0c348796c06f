"""Codecs by name: how the bytes of Kafka records become arrays.

A new format is one file here and one line of CODECS, or an entry point of another package.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fedstream.errors import AnnouncementError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec.json_object import JsonCodec
from fedstream.stream.codec.protocol import Codec
from fedstream.stream.codec.raw import RawCodec

__all__ = ["CODECS", "ENTRY_POINTS", "Codec", "codec_class", "get_codec", "other_codecs"]

CODECS: dict[str, type[Codec]] = {"JSON": JsonCodec, "RAW": RawCodec}
"""The codecs that come with fedstream; no other package can take their names."""

ENTRY_POINTS = "fedstream.codecs"
"""The group of entry points that name other packages' codecs; one is loaded when a stream asks for it."""


def codec_class(name: str) -> type[Codec]:
    """Return the codec of a format.

    Raises:
        AnnouncementError: there is none, or the package that offers it cannot be loaded.
    """
    if name in CODECS:
        return CODECS[name]
    if name in other_codecs():
        return _loaded(other_codecs()[name])
    raise AnnouncementError(
        f"input_format: {name[:100]!r} is not offered; the formats are {', '.join(sorted({*CODECS, *other_codecs()}))}"
    )


@cache
def other_codecs() -> dict[str, EntryPoint]:
    """Return the codecs that other packages offer, by name; looked up once, since strangers may announce thousands of unknown formats."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def get_codec(said: StreamFormat) -> Codec:
    """Return the codec of a stream.

    Raises:
        AnnouncementError: the format is not offered, or its configuration is wrong.
    """
    return codec_class(said.format).from_config(said.config)


def _loaded(point: EntryPoint) -> type[Codec]:
    try:
        found: type[Codec] = point.load()
    except Exception as error:
        raise AnnouncementError(
            f"input_format: the codec {point.name!r} ({point.value}) cannot be loaded ({error}); install its package again, or send another format"
        ) from error
    return found
