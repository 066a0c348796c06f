"""JSON records: fields by name, the label in a field or in the key."""

import numpy as np
import pytest
from support.codecs import records

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec import get_codec
from fedstream.stream.codec.json_object import JsonCodec

CONFIG = {"fields": ["age", "bmi"], "label_field": "ill", "label_type": "uint8"}


def codec(**changes):
    return get_codec(StreamFormat("JSON", CONFIG | changes))


def test_fields_are_taken_by_name_whatever_else_there_is():
    rows = [b'{"bmi": 22.5, "ill": 1, "age": 40, "ward": {"name": "7"}}', b' {"age":41,"bmi":2e1,"ill":0}\n']
    x, y = codec().decode_records(records(rows, [b"", b"patient 9"]))
    assert x.tolist() == [[40.0, 22.5], [41.0, 20.0]]
    assert y.tolist() == [1, 0]


def test_the_label_is_a_field_or_the_key():
    row = np.array([40, 22.5], np.float32)
    assert codec().encode(row, np.uint8(1)) == (b'{"age":40.0,"bmi":22.5,"ill":1}', b"\0")
    assert codec(label_field="").encode(row, np.uint8(1)) == (b'{"age":40.0,"bmi":22.5}', b"1")
    assert codec().record_size.keyless
    assert not codec(label_field="").record_size.keyless


@pytest.mark.parametrize("key", [b"", b"x", b"[1]", b"null", b"1.5", b"256", b"-1", b'"1"'])
def test_a_key_that_is_no_label_is_named(key):
    with pytest.raises(RecordError, match=r"record t:3:0: its key \(its label\) .*[Ss]end it again as announced"):
        codec(label_field="").decode_records(records([b'{"age": 1, "bmi": 2}'], [key]))


def test_a_message_quotes_nothing_of_a_record():
    with pytest.raises(RecordError) as raised:
        codec().decode_records(records([b'{"age": "HIV positive", "bmi": 2, "ill": 0}'], [b""]))
    assert "field 'age' is a str, expected a number" in str(raised.value)
    assert "HIV" not in str(raised.value)


def test_whole_numbers_stay_exact():
    wide = codec(data_type="uint64", fields=["n"])
    x, _ = wide.decode_records(
        records([b'{"n": 18446744073709551615, "ill": 0}', b'{"n": 7.0, "ill": 1.0}'], [b"", b""])
    )
    assert x.ravel().tolist() == [2**64 - 1, 7]


def test_columns_come_into_a_run_s_order():
    there = codec().in_order(["years", "mass"], ["mass", "years"])
    assert there.decode_sample(b'{"age": 40, "bmi": 22.5}').tolist() == [22.5, 40.0]
    assert codec().in_order(["years", "mass"], ["mass", "height"]) == codec()
    assert codec().in_order([], ["age", "bmi"]) == codec()


def test_nan_has_no_spelling():
    with pytest.raises(RecordError, match="NaN or infinity, which JSON cannot spell"):
        codec().encode(np.array([np.nan, 1]), np.uint8(0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fields": None}, "input_config.fields: list the names"),
        ({"fields": []}, "input_config.fields: list the names"),
        ({"fields": "age"}, "input_config.fields: list the names"),
        ({"fields": ["age", 7]}, "input_config.fields: list the names"),
        ({"fields": ["age", "age"]}, "input_config.fields: the name 'age' is there twice"),
        ({"fields": ["age", "ill"]}, "input_config.fields: the name 'ill' is there twice"),
        ({"fields": [""]}, "input_config.fields: '' is not a valid name"),
        ({"fields": [f"f{n}" for n in range(2000)]}, "input_config.fields: 2000 names are too many"),
        ({"label_field": ["ill"]}, "input_config.label_field"),
        ({"data_type": "complex64"}, "input_config.data_type: 'complex64' is not one of"),
        ({"data_reshape": "3"}, "3 values cannot come from 2 fields of equal size"),
        ({"inputs": []}, "input_config.inputs: give an object"),
        ({"inputs": {"patient": {"fields": []}}}, "input_config.inputs.patient: input_config.fields: list the names"),
        ({"inputs": {"": {"fields": ["age"]}}}, "input_config.inputs: '' is not a valid name"),
    ],
)
def test_a_configuration_that_cannot_be_used_names_the_field(change, reason):
    with pytest.raises(AnnouncementError, match=reason):
        codec(**change)


@pytest.mark.parametrize("shape", [(8, 8), (3,)])
def test_samples_that_do_not_have_the_named_columns_are_not_sent(shape):
    with pytest.raises(AnnouncementError, match="2 columns are named"):
        JsonCodec.from_sample(np.zeros(shape), np.asarray(np.uint8(0)), ["age", "bmi"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[[1, 2], [3, 4]]", ""),
        (b"[1, 2, 3, 4]", ""),
        (b"[[1, 2], [3, true]]", ""),
        (b"[[1, 2], [3]]", "field 'age' holds 3 values, expected 4 of shape"),
        (b"[[1, 2], 3, 4]", "field 'age' holds lists that are nested unequally"),
        (b"[" * 40 + b"1" + b"]" * 40, "nested unequally, or deeper than 32 levels"),
        (b'[[1, 2], [3, "4"]]', "field 'age' is a str, expected a number"),
        (b"[1, 2, 3, 256]", "field 'age' is out of range for uint8"),
        (b"[1, 2, 3, 0.5]", "field 'age' has a fraction, expected uint8"),
        (b'["' + b"x" * 9000 + b'"' + b', "y"' * 3 + b"]", "field 'age' is a str, expected a number"),
        (b"[]", "field 'age' holds 0 values"),
        (b"7", "field 'age' holds 1 values"),
    ],
)
def test_a_field_can_hold_lists_of_one_shape(value, reason):
    wide = codec(fields=["age"], data_type="uint8", data_reshape="2 2")
    record = b'{"age": ' + value + b', "ill": 0}'
    if reason:
        with pytest.raises(RecordError, match=reason):
            wide.decode_records(records([record], [b""]))
    else:
        x, _ = wide.decode_records(records([record, record], [b""] * 2))
        assert x.shape == (2, 2, 2)


def test_the_lists_of_one_record_do_not_make_up_for_those_of_another():
    wide = codec(fields=["age"], data_reshape="2 2")
    rows = [b'{"age": [1, 2, 3], "ill": 0}', b'{"age": [1, 2, 3, 4, 5], "ill": 0}']
    with pytest.raises(RecordError, match="record t:3:0: field 'age' holds 3 values"):
        wide.decode_records(records(rows, [b""] * 2))


def test_labels_are_classes_by_name_or_by_number():
    row = b'{"age": 40, "bmi": 22.5, "ill": "yes"}'
    _, names = codec(label_type="string").decode_records(records([row], [b""]))
    assert names.tolist() == ["yes"]
    _, numbers = codec(label_type="bool").decode_records(records([row.replace(b'"yes"', b"true")], [b""]))
    assert numbers.tolist() == [True]


@pytest.mark.parametrize(
    ("name", "config", "rows", "written"),
    [
        (
            "JSON",
            {},
            [b'{"age": null, "bmi": 2, "ill": 0}', b'{"bmi": 2, "ill": 0}'],
            b'{"age":null,"bmi":2.0,"ill":0}',
        ),
        ("CSV", {"columns": ["age", "bmi", "ill"]}, [b",2,0", b" ,2,0"], b",2.0,0"),
    ],
)
def test_a_value_can_be_missing_where_that_is_announced(name, config, rows, written):
    own = get_codec(StreamFormat(name, CONFIG | config | {"missing": True}))
    x, _ = own.decode_records(records(rows, [b"", b""]))
    assert np.array_equal(x, [[np.nan, 2]] * 2, equal_nan=True)
    assert own.encode(x[0], np.uint8(0))[0] == written
    assert get_codec(StreamFormat(name, own.config())) == own
    with pytest.raises(RecordError, match="field 'age' is missing or null, expected a number"):
        get_codec(StreamFormat(name, CONFIG | config)).decode_records(records(rows, [b"", b""]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missing": "yes"}, "input_config.missing: give true or false"),
        ({"missing": True, "data_type": "uint8"}, "a missing value is NaN, which only a floating data_type"),
        ({"missing": True, "data_reshape": "2 2"}, "a missing value is NaN, which only a floating data_type"),
    ],
)
def test_where_nothing_can_be_missing_that_is_refused(changes, said):
    with pytest.raises(AnnouncementError, match=said):
        codec(**changes)
