"""AVRO records: Kafka-ML's two schemas, fields that are chosen, and schemas that would harm a reader."""

import json
import time

import numpy as np
import pytest
from support.codecs import records

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec import get_codec
from fedstream.stream.codec.avro import AvroCodec, write_avro
from fedstream.stream.codec.avro_schema import SCHEMA_BYTES, parsed_schema


def record(name, **fields):
    return {"type": "record", "name": name, "fields": [{"name": own, "type": kind} for own, kind in fields.items()]}


COPD = record("patient", gender="boolean", age="int", smoking=["null", "float"], ward="string")
KAFKA_ML = {
    "data_scheme": json.dumps(record("patient", gender="boolean", age="int", smoking=["null", "float"])),
    "label_scheme": json.dumps(record("label", diagnosis="boolean")),
}


def value(schema, **fields):
    return write_avro(fields, parsed_schema(json.dumps(schema)))


def test_kafka_mls_configuration_stacks_all_fields():
    codec = get_codec(StreamFormat("AVRO", KAFKA_ML))
    schema = json.loads(KAFKA_ML["data_scheme"])
    values = [value(schema, gender=True, age=40, smoking=0.5), value(schema, gender=False, age=-3, smoking=2.0)]
    keys = [value(record("label", diagnosis="boolean"), diagnosis=ill) for ill in (False, True)]
    x, y = codec.decode_records(records(values, keys))
    assert (x.dtype, x.tolist(), y.tolist()) == (np.float32, [[1.0, 40.0, 0.5], [0.0, -3.0, 2.0]], [0, 1])
    assert codec.names == ("gender", "age", "smoking")


def test_fields_are_chosen_and_the_label_is_a_field_or_a_name():
    config = {"data_scheme": COPD, "fields": ["age", "smoking"], "data_type": "float64", "label_field": "ward"}
    codec = get_codec(StreamFormat("AVRO", config))
    values = [value(COPD, gender=True, age=40, smoking=0.5, ward="north")]
    x, y = codec.decode_records(records(values, [b""]))
    assert (x.dtype, x.tolist(), y.tolist()) == (np.float64, [[40.0, 0.5]], ["north"])
    assert codec.record_size.keyless


def test_arrays_and_bytes_have_the_announced_shape():
    schema = record("picture", pixels="bytes", more={"type": "array", "items": "float"})
    data = value(schema, pixels=np.arange(4, dtype="<u2").tobytes(), more=[1.5, 2.5])
    picture = {"fields": ["pixels"], "data_type": "uint16", "data_reshape": "2 2"}
    config = {
        "data_scheme": schema,
        "label_scheme": '"long"',
        "inputs": {"picture": picture, "more": {"fields": ["more"], "data_reshape": "2"}},
    }
    sample = get_codec(StreamFormat("AVRO", config)).decode_sample(data)
    assert sample["picture"].tolist() == [[0, 1], [2, 3]]
    assert sample["more"].tolist() == [1.5, 2.5]
    short = value(schema, pixels=b"123", more=[1.5])
    with pytest.raises(RecordError, match=r"field 'pixels' holds 3 bytes, expected 8"):
        get_codec(StreamFormat("AVRO", {**config, "inputs": {"picture": picture}})).decode_sample(short)


def test_a_record_without_a_value_is_refused_without_its_content():
    codec = get_codec(StreamFormat("AVRO", KAFKA_ML))
    missing = value(json.loads(KAFKA_ML["data_scheme"]), gender=True, age=40, smoking=None)
    with pytest.raises(RecordError, match=r"field 'smoking' is missing or null, expected a number") as raised:
        codec.decode_sample(missing)
    assert "40" not in str(raised.value)


def test_a_type_with_a_calendar_is_read_as_its_number():
    schema = record(
        "stay",
        days={"type": "int", "logicalType": "date"},
        paid={"type": "bytes", "logicalType": "decimal", "precision": 4},
    )
    codec = get_codec(StreamFormat("AVRO", {"data_scheme": schema, "fields": ["days"], "label_scheme": '"long"'}))
    text = record("stay", days="int", paid="bytes")
    assert codec.decode_sample(value(text, days=2**30, paid=b"1234567")).tolist() == [2**30]


NESTED = "int"
for _ in range(40):
    NESTED = {"type": "array", "items": NESTED}
DOUBLED = [record("t0", a="null")]
for number in range(1, 30):
    DOUBLED.append(record(f"t{number}", a=DOUBLED[-1] if number == 1 else f"t{number - 1}", b=f"t{number - 1}"))
    DOUBLED[-1]["fields"][0]["type"] = DOUBLED[-2]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (None, "give the text of an Avro schema"),
        ("no schema", "the schema is not JSON"),
        ('"' + "x" * SCHEMA_BYTES + '"', "characters, expected"),
        ('{"type": "record"}', "it is not an Avro schema"),
        ('"long"', "give the schema of a record with fields"),
        ("[]", "give the schema of a record with fields"),
        (record("r", a={"type": "array", "items": "null"}), "an array whose items have no bytes"),
        (record("r", a={"type": "array", "items": record("e", b="null")}), "an array whose items have no bytes"),
        (record("r", a=["null", "r"]), "type 'r' of the schema contains itself"),
        (record("r", a={"type": "fixed", "name": "f", "size": 2**40}), "bytes, expected"),
        (record("r", a=NESTED), "nested deeper than 32"),
        (record("r", **{f"f{number}": "int" for number in range(2001)}), "has more than 2,000 types|characters"),
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_used_is_refused(schema, reason):
    began = time.monotonic()
    with pytest.raises(AnnouncementError, match=rf"input_config.data_scheme: .*({reason})"):
        AvroCodec.from_config({"data_scheme": schema, "label_scheme": '"long"'})
    assert time.monotonic() - began < 10


def test_a_schema_that_grows_when_names_are_resolved_is_refused():
    with pytest.raises(ValueError, match=r"more than 2,000 types|nested deeper"):
        parsed_schema(json.dumps(DOUBLED[14]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fields": ["weight"]}, "input_config.fields: data_scheme has no field 'weight'"),
        ({"label_field": "weight"}, "input_config.label_field: data_scheme has no field 'weight'"),
        ({"label_field": "age", "fields": ["age"]}, "input_config.fields: the name 'age' is there twice"),
        ({"label_scheme": None}, "input_config.label_scheme: give the text of an Avro schema"),
    ],
)
def test_a_configuration_that_cannot_be_used_names_the_field(change, reason):
    with pytest.raises(AnnouncementError, match=reason):
        get_codec(StreamFormat("AVRO", KAFKA_ML | change))
