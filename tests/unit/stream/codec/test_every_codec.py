"""What every codec promises. A new format adds one Case."""

import io
import json
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from support.codecs import records

from fedstream.errors import AnnouncementError, FedstreamError, RecordError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec import CODECS, codec_class, get_codec

NUMBERS = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@dataclass(frozen=True)
class Case:
    """A format, and the records it can write.

    Attributes:
        samples: arrays (n, ...) of samples.
        labels: names of the types of labels.
        config: one configuration, for records like the sample with a uint8 as their label.
        hostile: values that are no record of it.
        sample: a sample.
    """

    samples: st.SearchStrategy[np.ndarray]
    labels: list[str]
    config: dict[str, object]
    hostile: list[bytes]
    sample: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))


def arrays(names: list[str], dims: int) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=dims, max_side=4)
    finite = {"allow_nan": False, "allow_infinity": False}
    return st.sampled_from(names).flatmap(
        lambda name: hnp.arrays(name, shapes, elements=finite if name.startswith("float") else None)
    )


def texts() -> st.SearchStrategy[np.ndarray]:
    words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    return st.lists(words, min_size=1, max_size=4).map(lambda found: np.array([[word] for word in found], object))


def avro(fields: dict[str, object]) -> dict[str, object]:
    return {"type": "record", "name": "r", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}


def png(shape: tuple[int, ...], kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, kind, **options)
    return file.getvalue()


ABC = {"fields": ["a", "b", "c"], "label_type": "uint8"}
FLOATS = dict.fromkeys("abc", "float")
HOSTILE_JSON = [
    b"",
    b"\xff\xfe",
    b"[1, 2, 3]",
    b"null",
    b'{"a": 1, "b": 2}',
    b'{"a": 1, "b": 2, "c": null}',
    b'{"a": 1, "b": 2, "c": "3"}',
    b'{"a": 1, "b": 2, "c": [3]}',
    b'{"a": 1, "b": 2, "c": {"d": 3}}',
    b'{"a": 1, "b": 2, "c": NaN}',
    b'{"a": 1, "b": 2, "c": -Infinity}',
    b'{"a": 1, "b": 2, "c": 1e999}',
    b'{"a": 1, "b": 2, "c": 1e39}',
    b'{"a": 1, "b": 2, "c": ' + b"9" * 5000 + b"}",
    b'{"a": 1, "b": 2, "c": 3, "d": ' + b"[" * 50_000 + b"}",
    b'{"a": 1, "b": 2, "c": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}',
]
HOSTILE_AVRO = [b"", bytes(11), bytes(13), b"\xff" * 9]

CASES = {
    "RAW": Case(
        arrays([*NUMBERS, "bool"], 4) | texts(),
        [*NUMBERS, "bool"],
        {"data_type": "float32", "data_reshape": "3", "label_type": "uint8", "label_reshape": "1"},
        [b"", bytes(11), bytes(13)],
    ),
    "JSON": Case(arrays([*NUMBERS, "bool"], 4) | texts(), [*NUMBERS, "bool"], ABC, HOSTILE_JSON),
    "CONFLUENT_JSON": Case(
        arrays([*NUMBERS, "bool"], 4) | texts(),
        [*NUMBERS, "bool"],
        {**ABC, "schema_id": 9},
        [b"", b"\0\0", b'{"a": 1, "b": 2, "c": 3}', *(b"\0\0\0\0\x09" + value for value in HOSTILE_JSON)],
    ),
    "AVRO": Case(
        arrays([*NUMBERS, "bool"], 4) | texts(),
        [*NUMBERS, "bool"],
        {"data_scheme": avro(FLOATS), "label_scheme": json.dumps(avro({"ill": "float"})), "label_type": "uint8"},
        HOSTILE_AVRO,
    ),
    "CONFLUENT_AVRO": Case(
        arrays([*NUMBERS, "bool"], 4) | texts(),
        [*NUMBERS, "bool"],
        {**ABC, "schemas": {"7": avro({**FLOATS, "ill": ["null", "int"]})}, "label_field": "ill"},
        [
            b"",
            bytes(4),
            b"\1\0\0\0\7" + bytes(13),
            b"\0\0\0\0\7" + bytes(12),
            b"\0\0\0\0\7" + bytes(14),
            b"\0\0\0\0\x08" + bytes(13),
        ],
    ),
    "CSV": Case(
        arrays([*NUMBERS, "bool"], 4) | texts(),
        [*NUMBERS, "bool"],
        {"columns": ["a", "b", "c"], "label_type": "uint8"},
        [
            b"",
            b"1,2",
            b"1,2,3,4",
            b"1,2,",
            b"1,2,nan",
            b"1,2,inf",
            b"1,2,1e999",
            b"1,2,1e39",
            b"1,2,x",
            b"1,2,1_0",
            b"1,2," + b"9" * 5000,
            b'1,2,"3',
            b"1,2,3\r4,5,6",
            "1,2,\u0663".encode(),
            b"\xff,2,3",
        ],
    ),
    "IMAGE": Case(
        hnp.arrays(np.uint8, st.sampled_from([(2, 5, 3), (1, 4, 2, 1), (1, 3, 2, 3), (1, 2, 3, 4)])),
        [*NUMBERS, "bool"],
        {"data_reshape": "4 3", "label_type": "uint8", "label_reshape": "1"},
        [b"", b"\x89PNG\r\n\x1a\n", png((3, 4)), png((4, 3))[:-30], png((4, 3), "BMP"), png((9000, 9000))],
        np.zeros((4, 3), np.uint8),
    ),
    "TEXT": Case(
        texts(),
        [*NUMBERS, "bool"],
        {"label_type": "uint8"},
        [b"\xff\xfe", b"a\0", b"\xed\xa0\x80"],
        np.array(["a text"], object),
    ),
}


def names_for(sample: np.ndarray) -> list[str]:
    """Name the columns of a flat sample, oddly."""
    return [f"ä 'c\" {number}" for number in range(sample.shape[0])] if sample.ndim == 1 else []


def test_every_codec_has_a_case():
    assert CASES.keys() == CODECS.keys()


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_sent_is_what_is_read(name, data):
    case, kind = CASES[name], codec_class(name)
    x = data.draw(case.samples)
    y = np.arange(len(x)).astype(data.draw(st.sampled_from(case.labels)))
    codec = kind.from_config(json.loads(json.dumps(kind.from_sample(x[0], y[0], names_for(x[0])).config())))
    values, keys = zip(*(codec.encode(sample, label) for sample, label in zip(x, y, strict=True)), strict=True)
    got_x, got_y = codec.decode_records(records(values, keys))
    assert (got_x.dtype, got_x.shape, got_y.dtype) == (x.dtype, x.shape, y.dtype)
    assert (codec.data_shape, codec.label_shape) == (x.shape[1:], ())
    np.testing.assert_array_equal(got_x, x)
    np.testing.assert_array_equal(got_y, y)
    np.testing.assert_array_equal(codec.decode_sample(values[-1]), x[-1])
    size = codec.record_size
    assert max(map(len, values)) <= size.value
    assert max(map(len, keys)) <= size.key
    assert min(len(value) + len(key) for value, key in zip(values, keys, strict=True)) >= size.least


@pytest.mark.parametrize("name", CASES)
def test_a_configuration_is_read_back_as_it_is_written(name):
    codec = get_codec(StreamFormat(name, CASES[name].config))
    assert get_codec(StreamFormat(name, codec.config())) == codec


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, case in CASES.items() for value in case.hostile])
def test_a_record_that_is_none_is_named(name, value):
    codec = get_codec(StreamFormat(name, CASES[name].config))
    good, key = codec.encode(CASES[name].sample, np.uint8(0))
    with pytest.raises(RecordError, match=r"record t:3:102: .*[Ss]end it again as announced"):
        codec.decode_records(records([good, good, value, good], [key] * 4, start=100))
    with pytest.raises(RecordError):
        codec.decode_sample(value)


@pytest.mark.parametrize("name", CASES)
def test_a_record_without_label_or_value_is_named(name):
    codec = get_codec(StreamFormat(name, {**CASES[name].config, "label_type": "int16"}))
    value, key = codec.encode(CASES[name].sample, None)
    assert key == b"\0"
    with pytest.raises(RecordError, match=r"t:3:0.*(without label|field 'ill' \(its label\) is missing or null)"):
        codec.decode_records(records([value], [key]))
    with pytest.raises(RecordError, match="it has no value"):
        codec.decode_sample(None)
    with pytest.raises(RecordError, match="expected"):
        codec.decode_sample(bytes(codec.record_size.value + 1))


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.binary(max_size=40), key=st.binary(max_size=12))
def test_whatever_the_bytes_there_is_no_traceback(name, value, key):
    codec = get_codec(StreamFormat(name, CASES[name].config))
    for read in (lambda: codec.decode_records(records([value], [key])), lambda: codec.decode_sample(value)):
        with suppress(RecordError):
            read()


any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_the_configuration_there_is_no_traceback(name, data):
    fields = sorted({*CASES[name].config, "label_field", "data_type"})
    config = CASES[name].config | data.draw(st.dictionaries(st.sampled_from(fields), any_json, max_size=3))
    for read in (codec_class(name).from_config, codec_class(name).unlabelled):
        with suppress(AnnouncementError):
            read(config)


@pytest.mark.parametrize("name", CASES)
def test_records_to_predict_need_no_word_on_labels(name):
    config = {field: said for field, said in CASES[name].config.items() if not field.startswith("label")}
    codec = codec_class(name).unlabelled(config)
    assert (codec.data_shape, codec.data_dtype) == (CASES[name].sample.shape, CASES[name].sample.dtype)
    assert codec.sample_format == get_codec(StreamFormat(name, CASES[name].config)).sample_format


@pytest.mark.parametrize("name", CASES)
def test_a_sample_that_cannot_be_written_is_refused_before_it_is_sent(name):
    for sample in (np.zeros(3, complex), np.zeros((0,), np.float32), np.array([None])):
        with pytest.raises(FedstreamError):
            codec_class(name).from_sample(sample, np.asarray(np.uint8(0)), names_for(sample))
