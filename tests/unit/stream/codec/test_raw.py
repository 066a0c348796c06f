from typing import Any

import numpy as np
import pytest
from support.codecs import records

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec import get_codec
from fedstream.stream.codec.raw import RawCodec

MNIST = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": "1"}


def test_kafka_mls_inference_of_mnist() -> None:
    assert RawCodec.from_sample(np.zeros((28, 28), np.uint8), np.asarray(np.uint8(3))).config() == MNIST


def test_label_shapes_other_than_one_number_are_kept() -> None:
    codec = RawCodec.from_config(MNIST | {"label_reshape": "10", "label_type": "float32"})
    _, labels = codec.decode_records(records([bytes(784)] * 2, [bytes(40)] * 2))
    assert labels.shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("half", "float16"),
        ("float", "float64"),
        ("double", "float64"),
        ("float64", "float64"),
        ("int", "int64"),
        ("bool_", "bool"),
    ],
)
def test_kafka_mls_names_are_numpys(name: str, dtype: str) -> None:
    assert RawCodec.from_config(MNIST | {"data_type": name}).data_dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_type": None}, "data_type"),
        ({"data_type": "string"}, "data_reshape: a record holds one text, which has the shape '1', not '28 28'"),
        ({"data_type": "complex64"}, "data_type: 'complex64' is not one of"),
        ({"data_type": ["uint8"]}, "data_type"),
        ({"label_type": "object"}, "label_type"),
        ({"data_reshape": None}, "data_reshape"),
        ({"data_reshape": "28x28"}, "data_reshape"),
        ({"data_reshape": "0 28"}, "data_reshape"),
        ({"data_reshape": "-1 28"}, "data_reshape"),
        ({"data_reshape": "²"}, "data_reshape"),
        ({"label_reshape": ""}, "label_reshape"),
    ],
)
def test_a_configuration_that_cannot_be_used_names_the_field(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(AnnouncementError, match=reason):
        get_codec(StreamFormat("RAW", MNIST | change))


def test_a_value_of_the_wrong_size_is_named_by_topic_partition_and_offset() -> None:
    values = [bytes(784), bytes(784), bytes(783), bytes(785)]
    with pytest.raises(RecordError, match=r"record t:3:102: its value has 783 bytes, expected 784 .* 2 of 4"):
        get_codec(StreamFormat("RAW", MNIST)).decode_records(records(values, [b"\1"] * 4, start=100))


def test_wrong_sizes_that_add_up_are_found_too() -> None:
    with pytest.raises(RecordError, match="t:3:0"):
        get_codec(StreamFormat("RAW", MNIST)).decode_records(records([bytes(783), bytes(785)], [b"\1"] * 2))


def test_an_unlabelled_record_is_recognised() -> None:
    codec = get_codec(StreamFormat("RAW", MNIST | {"label_type": "int64"}))
    with pytest.raises(RecordError, match="without label"):
        codec.decode_records(records([bytes(784)], [b"\0"]))
