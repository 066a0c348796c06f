"""Codecs by name. A codec turns the bytes of Kafka records into arrays.

To add a format, add a file here and a line to CODECS, or provide an entry point in another package.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fedstream.errors import AnnouncementError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec.avro import AvroCodec
from fedstream.stream.codec.confluent import ConfluentAvroCodec, ConfluentJsonCodec
from fedstream.stream.codec.csv_line import CsvCodec
from fedstream.stream.codec.image import ImageCodec
from fedstream.stream.codec.json_object import JsonCodec
from fedstream.stream.codec.protocol import Codec
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.codec.text import TextCodec

__all__ = ["CODECS", "ENTRY_POINTS", "Codec", "codec_class", "get_codec", "other_codecs"]

CODECS: dict[str, type[Codec]] = {
    "AVRO": AvroCodec,
    "CONFLUENT_AVRO": ConfluentAvroCodec,
    "CONFLUENT_JSON": ConfluentJsonCodec,
    "CSV": CsvCodec,
    "IMAGE": ImageCodec,
    "JSON": JsonCodec,
    "RAW": RawCodec,
    "TEXT": TextCodec,
}
"""The codecs that come with fedstream. Other packages cannot use their names."""

ENTRY_POINTS = "fedstream.codecs"
"""Group of the entry points of other packages' codecs. A codec is loaded when a stream uses it."""


def codec_class(name: str) -> type[Codec]:
    """Return the codec of a format.

    Raises:
        AnnouncementError: The format does not exist, or the package that provides it cannot be loaded.
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
    """Return the codecs that other packages provide, by name.

    The result is cached, because anyone with write access can announce thousands of unknown formats.
    """
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def get_codec(said: StreamFormat) -> Codec:
    """Return the codec of a stream.

    Raises:
        AnnouncementError: The format does not exist, or its configuration is invalid.
    """
    return codec_class(said.format).from_config(said.config)


def _loaded(point: EntryPoint) -> type[Codec]:
    try:
        found: type[Codec] = point.load()
    except Exception as error:
        raise AnnouncementError(
            f"input_format: the codec {point.name!r} ({point.value}) cannot be loaded ({error}); "
            "install its package again, or send another format"
        ) from error
    return found
