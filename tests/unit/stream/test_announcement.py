import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstream.errors import AnnouncementError
from fedstream.record.offsets import OffsetRange
from fedstream.stream.announcement import (
    DataAnnouncement,
    check_announceable,
    invalid_client_name,
    parse_data_announcement,
)

# What Kafka-ML's federated MNIST example sends.
KAFKA_ML = {
    "topic": "mnist_fed:0:0:70000",
    "unsupervised_topic": None,
    "input_format": "RAW",
    "description": "Mnist dataset",
    "dataset_restrictions": '{"features": {"label": {"type": "int"}}}',
    "input_config": {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": "1"},
    "validation_rate": 0.1,
    "test_rate": 0,
    "total_msg": 70000,
    "incremental": False,
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=8), scalars, max_size=2)
changed_fields = st.tuples(st.sampled_from([*KAFKA_ML, "client"]), json_values)


def announced(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**KAFKA_ML, **changes}.items() if value is not ...}).encode()


def test_kafka_mls_own_announcement_is_understood() -> None:
    said = parse_data_announcement(json.dumps(KAFKA_ML).encode())
    assert said.ranges == [OffsetRange("mnist_fed", 0, 0, 70000)]
    assert said.client == "mnist_fed"
    assert said.held_out_rate() == 0.1
    assert said.restrictions == {"features": {"label": {"type": "int"}}}
    assert not said.online


def test_our_own_fields_and_unknown_ones_survive() -> None:
    said = parse_data_announcement(
        announced(client="hospital-a", bootstrap_servers="b:9092", schema_version=1, later="x")
    )
    again = parse_data_announcement(said.to_bytes())
    assert again == said.model_copy(update={"schema_version": 1})
    assert (again.client, again.bootstrap_servers) == ("hospital-a", "b:9092")


def test_an_online_stream_has_no_ranges() -> None:
    said = parse_data_announcement(announced(topic="mnist_online", total_msg=None, incremental=True))
    assert said.online
    assert said.ranges == []
    assert said.topics == {"mnist_online"}
    assert said.client == "mnist_online"


def test_avro_is_understood() -> None:
    said = parse_data_announcement(
        announced(input_format="AVRO", input_config={"data_scheme": "{}", "label_scheme": "{}"})
    )
    assert said.input_format == "AVRO"


def test_configuration_may_be_text_and_restrictions_an_object() -> None:
    said = parse_data_announcement(
        announced(input_config=json.dumps(KAFKA_ML["input_config"]), dataset_restrictions={"a": 1})
    )
    assert said.input_config == KAFKA_ML["input_config"]
    assert said.restrictions == {"a": 1}


@pytest.mark.parametrize(
    ("validation", "test", "held_out"),
    [(None, None, None), (0, 0, None), (..., ..., None), (0.2, None, 0.2), (0, 0.1, 0.1), (0.25, 0.25, 0.5)],
)
def test_rates_of_zero_and_null_leave_it_to_the_run(validation: Any, test: Any, held_out: float | None) -> None:
    assert parse_data_announcement(announced(validation_rate=validation, test_rate=test)).held_out_rate() == held_out


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"topic": ...}, "topic: Field required"),
        ({"topic": None}, "topic: Field required"),
        ({"topic": 3}, "topic: "),
        ({"topic": "a:0:5"}, "topic: .*not a range"),
        ({"topic": "a b"}, "topic: .*no topic name"),
        ({"topic": ""}, "topic: .*no topic name"),
        ({"topic": "a:0:5:5", "client": "c"}, "topic: .*empty"),
        ({"topic": "a:0:0:5,a:0:4:9", "client": "c"}, "topic: .*overlap"),
        ({"input_format": 7}, "input_format: "),
        ({"input_format": ...}, "input_format: Field required"),
        ({"input_config": ...}, "input_config: Field required"),
        ({"input_config": "{"}, "input_config: "),
        ({"input_config": "[" * 100_000}, "input_config: .*nested deeper than 32 levels"),
        ({"input_config": []}, "input_config: "),
        ({"validation_rate": 1}, "validation_rate: .*nothing would be left"),
        ({"validation_rate": 1.5}, "validation_rate: .*nothing would be left"),
        ({"validation_rate": -0.1}, "validation_rate: "),
        ({"validation_rate": float("nan")}, "validation_rate: "),
        ({"validation_rate": float("inf")}, "validation_rate: "),
        ({"validation_rate": "much"}, "validation_rate: "),
        ({"test_rate": 1}, "test_rate: "),
        ({"validation_rate": 0.5, "test_rate": 0.5}, "leave nothing to train on"),
        ({"dataset_restrictions": "{"}, "dataset_restrictions: .*not JSON"),
        ({"dataset_restrictions": "3"}, "dataset_restrictions: .*object"),
        ({"total_msg": "many"}, "total_msg: "),
    ],
)
def test_an_announcement_that_cannot_be_used_names_the_field(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AnnouncementError, match=f"(?s){reason}"):
        parse_data_announcement(announced(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[1]", b'"text"', b"null", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(AnnouncementError, match="the announcement"):
        parse_data_announcement(data)


@given(
    st.binary(max_size=60)
    | st.lists(changed_fields, max_size=2).map(lambda changes: json.dumps(KAFKA_ML | dict(changes)).encode())
)
def test_whatever_is_sent_is_understood_or_refused(data: bytes) -> None:
    with suppress(AnnouncementError):
        said = parse_data_announcement(data)
        assert 0 <= (said.held_out_rate() or 0) < 1
        assert said.online or said.ranges
        assert isinstance(said.restrictions, dict)


@pytest.mark.parametrize(
    "name", ["", "hospital a", "o'brien", 'quo"te', "-first", ".", "ä", "a/b", "x" * 64, "new\nline", "trailing\n"]
)
def test_names_that_cannot_be_object_keys_are_refused_with_a_reason(name: str) -> None:
    assert "client name" in invalid_client_name(name)


@pytest.mark.parametrize("name", ["a", "Hospital-1", "plant_7.line2", "x" * 63])
def test_ordinary_names_are_fine(name: str) -> None:
    assert invalid_client_name(name) == ""


def test_a_bad_client_name_is_understood_so_that_matching_can_say_so() -> None:
    assert parse_data_announcement(announced(client="hospital a")).client == "hospital a"


def test_what_an_owner_says_is_checked_before_anything_is_sent() -> None:
    check_announceable({"description": "x", "dataset_restrictions": "{}", "validation_rate": 0.1, "test_rate": 0})
    with pytest.raises(AnnouncementError, match="validation_rate"):
        check_announceable({"validation_rate": 1})
    with pytest.raises(AnnouncementError, match="cannot be written as JSON"):
        check_announceable({"deployment_id": object()})


def test_ranges_are_those_of_the_text() -> None:
    said = DataAnnouncement(topic="b:0:0:2,a:1:5:7", input_format="RAW", input_config={})
    assert [str(r) for r in said.ranges] == ["a:1:5:7", "b:0:0:2"]
