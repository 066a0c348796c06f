"""Whatever is announced and whatever records hold: a reason or a result, and nothing else.

FEDSTREAM_FUZZ sets the number of examples of each test; the same number makes the same examples.
"""

import json
import os
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.codecs import records

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.canonical import canonical_json
from fedstream.record.description import ModelDescription
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import parse_ranges
from fedstream.record.spec import RunSpec
from fedstream.steps.admission import Heard
from fedstream.steps.matching import match
from fedstream.steps.withdrawals import why_withdrawn
from fedstream.stream.announced import standing
from fedstream.stream.codec import CODECS, get_codec

EXAMPLES = int(os.environ.get("FEDSTREAM_FUZZ", "150"))
fuzzed = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
pytestmark = pytest.mark.timeout(max(300, EXAMPLES // 4))

MODEL = ModelDescription(
    name="m",
    input_shape=[2],
    output_shape=[3],
    num_classes=3,
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
    variables=[],
    keras_digest="0" * 64,
    weights_digest="1" * 64,
)
RAW = {"data_type": "float32", "label_type": "uint8", "data_reshape": "2", "label_reshape": "1"}
LONG = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}]}
CONFIGS: dict[str, dict[str, Any]] = {
    "RAW": RAW,
    "JSON": {"fields": ["a", "b"], "label_field": "c", "data_type": "float32", "label_type": "int64"},
    "AVRO": {"data_scheme": json.dumps(LONG), "label_scheme": '"long"'},
}
GOOD = {
    "topic": "g:0:0:9",
    "input_format": "RAW",
    "input_config": RAW,
    "client": "good",
    "dataset_restrictions": "{}",
    "description": "",
    "validation_rate": 0.1,
    "test_rate": 0,
    "total_msg": 9,
    "unsupervised_topic": None,
    "incremental": False,
    "features": ["a", "b"],
    "classes": ["x", "y", "z"],
    "append": False,
    "withdrawn": False,
}
words = st.sampled_from(
    ["g", "t:0:0:5", "t:0:0:0", "t:-1:0:5", "1", "2", "-1", "uint8", "string", "RAW", "JSON", "AVRO"]
)
words |= st.sampled_from(["bad", "good", "[", "{", '{"a":1}', "\x00", "\ud800", "a" * 5_000, "9" * 400, "NaN", ""])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.sampled_from([*RAW]), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from([*GOOD, "bootstrap_servers", "deployment_id", "schema_version", "start", "topics"])


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with some changed, some lost, or something put between them."""
    places = st.tuples(st.integers(0, len(good)), st.integers(0, 4), st.binary(max_size=4))
    return places.map(lambda at: good[: at[0]] + at[2] + good[at[0] + at[1] :])


messages = st.one_of(
    st.dictionaries(fields, values, max_size=4).map(lambda own: json.dumps(GOOD | {"client": "bad"} | own).encode()),
    damaged(json.dumps(GOOD | {"client": "bad", "topic": "b:0:0:5"}).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
)


@fuzzed
@given(message=messages)
def test_an_announcement_takes_part_or_has_a_reason_and_harms_no_other(message: bytes) -> None:
    good = json.dumps(GOOD).encode()
    found = match(RunSpec(run="r", model="m"), MODEL, [Heard("", 0, 0, message), Heard("", 0, 1, good)])
    assert len(found.rows) == 2
    assert all(row.reason and len(row.reason) < 600 for row in found.rows)
    canonical_json([client.model_dump(mode="json") for client in found.clients])
    first, second = standing([(0, 0, message), (0, 1, good)])
    assert second.fate.state == "counts"
    assert first.said or first.fate.reason
    if b"withdrawn" not in message:
        assert [client.client for client in found.clients if client.client == "good"] == ["good"]
        assert why_withdrawn([(0, 0, good), (0, 1, message)], "good", parse_ranges("g:0:0:9")) == ""


def some_of(name: str) -> st.SearchStrategy[tuple[dict[str, Any], bytes, bytes]]:
    """A configuration, a value and a key: good ones, damaged ones, and any others."""
    config = CONFIGS[name]
    changed = st.dictionaries(st.sampled_from([*config, "inputs", "label_reshape"]), values, max_size=1)
    value, key = get_codec(StreamFormat(name, config)).encode(np.array([1, 2], np.float32), np.array(1))
    own = st.just(value) | damaged(value) | st.binary(max_size=20)
    keys = st.just(key) | damaged(key) | st.binary(max_size=10)
    return st.tuples(changed.map(lambda more: config | more), own, keys)


KNOWN = sorted(CONFIGS.keys() & CODECS.keys())


@pytest.mark.parametrize("name", KNOWN)
@fuzzed
@given(data=st.data())
def test_a_record_is_decoded_or_refused(name: str, data: st.DataObject) -> None:
    config, value, key = data.draw(some_of(name))
    try:
        codec = get_codec(StreamFormat(name, json.loads(json.dumps(config))))
    except AnnouncementError:
        return
    assert get_codec(StreamFormat(name, codec.config())) == codec
    with suppress(RecordError):
        x, y = codec.decode_records(records([value], [key]))
        assert (x.shape, y.shape) == ((1, *codec.data_shape), (1, *codec.label_shape))
        assert (x.dtype, y.dtype) == (codec.data_dtype, codec.label_dtype)
    with suppress(RecordError):
        assert codec.decode_sample(value).shape == codec.data_shape
