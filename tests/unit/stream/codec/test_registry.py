"""Codecs are found by name: fedstream's own first, then those that other packages offer."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fedstream.errors import AnnouncementError
from fedstream.record.format import StreamFormat
from fedstream.stream import codec
from fedstream.stream.codec import ENTRY_POINTS, codec_class, get_codec, other_codecs
from fedstream.stream.codec.json_object import JsonCodec
from fedstream.stream.codec.raw import RawCodec


@pytest.fixture
def offered(monkeypatch):
    """Let another package offer codecs."""

    def offer(**values):
        points = EntryPoints(
            [EntryPoint(name, value, ENTRY_POINTS) for name, value in values.items()]
            + [EntryPoint("CSV", "x:y", "other.group")]
        )
        monkeypatch.setattr(codec, "entry_points", points.select)
        monkeypatch.setattr(codec, "other_codecs", other_codecs.__wrapped__)

    return offer


def test_an_unknown_format_is_told_the_known_ones(offered):
    offered(PROTOBUF="nowhere:Codec")
    with pytest.raises(
        AnnouncementError,
        match=r"input_format: 'XML' is not offered; the formats are AVRO, .*, JSON, PROTOBUF, RAW, TEXT",
    ):
        get_codec(StreamFormat("XML", {}))


def test_another_package_s_codec_is_found(offered):
    offered(OTHER="fedstream.stream.codec.json_object:JsonCodec")
    assert codec_class("OTHER") is JsonCodec


def test_another_package_cannot_take_a_name(offered):
    offered(RAW="fedstream.stream.codec.json_object:JsonCodec")
    assert codec_class("RAW") is RawCodec


def test_a_package_that_cannot_be_loaded_is_named_and_harms_no_other_format(offered):
    offered(BROKEN="no_such_package:Codec")
    assert codec_class("JSON") is JsonCodec
    with pytest.raises(
        AnnouncementError, match=r"the codec 'BROKEN' \(no_such_package:Codec\) cannot be loaded \(No module named"
    ):
        codec_class("BROKEN")
