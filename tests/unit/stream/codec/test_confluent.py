"""Confluent's wire format, with schemas in the announcement or from a registry that really answers over HTTP."""

import json
import time

import pytest
from support.codecs import records
from support.http_server import FakeServer, Refused

from fedstream.errors import AnnouncementError, RecordError, SchemaRegistryError, SettingsError
from fedstream.record.format import StreamFormat
from fedstream.settings import schema_registries
from fedstream.stream.codec import get_codec, schema_registry
from fedstream.stream.codec.avro import write_avro
from fedstream.stream.codec.avro_schema import parsed_schema
from fedstream.stream.codec.confluent import framed


def record(**fields):
    return {"type": "record", "name": "r", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}


OLD, NEW = record(age="int", ill="int"), record(ward="string", ill="int", bmi="double", age="long")
CONFIG = {"fields": ["age"], "label_field": "ill"}


def sent(number, schema, **fields):
    return framed(number, write_avro(fields, parsed_schema(json.dumps(schema))))


class Registry(FakeServer):
    """A schema registry: schemas are registered under subjects and read by id."""

    def __init__(self):
        super().__init__()
        self.schemas = {}

    def answer(self, method, path, query, body):
        parts = path.strip("/").split("/")
        if method == "POST" and parts[0] == "subjects":
            number = len(self.schemas) + 1
            self.schemas[number] = json.loads(body)
            return {"id": number}
        if parts[:2] == ["schemas", "ids"] and int(parts[2]) in self.schemas:
            return self.schemas[int(parts[2])]
        raise Refused(404, "Schema not found", 40403)


@pytest.fixture
def registry(monkeypatch):
    schema_registry._fetch.cache_clear()
    with Registry().running() as server:
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", f"http://elsewhere:8081, {server.url}/")
        yield server


def register(registry, schema, **more):
    import urllib3

    body = json.dumps({"schema": json.dumps(schema), **more})
    return urllib3.request("POST", f"{registry.url}/subjects/patients-value/versions", body=body).json()["id"]


def codec(registry):
    return get_codec(StreamFormat("CONFLUENT_AVRO", {**CONFIG, "registry": registry.url}))


def test_each_record_is_read_with_the_schema_that_it_was_written_with(registry):
    old, new = register(registry, OLD), register(registry, NEW)
    values = [sent(old, OLD, age=40, ill=1), sent(new, NEW, ward="7", ill=0, bmi=20.5, age=41)] * 300
    found = codec(registry)
    for _ in range(2):
        x, y = found.decode_records(records(values, [b""] * len(values)))
        assert (x[:2].tolist(), y[:2].tolist(), len(x)) == ([[40.0], [41.0]], [1, 0], 600)
    asked = [line for line in registry.asked if line.startswith("GET")]
    assert sorted(asked) == [f"GET /schemas/ids/{old}", f"GET /schemas/ids/{new}"], "each is asked for once"
    assert get_codec(StreamFormat("CONFLUENT_AVRO", found.config())) == found


def test_schemas_can_be_announced_and_others_are_refused():
    schemas = {"7": OLD, "8": json.dumps(NEW)}
    announced = get_codec(StreamFormat("CONFLUENT_AVRO", {**CONFIG, "schemas": schemas}))
    x, _ = announced.decode_records(
        records([sent(7, OLD, age=40, ill=1), sent(8, NEW, ward="", ill=0, bmi=0, age=9)], [b""] * 2)
    )
    assert x.tolist() == [[40.0], [9.0]]
    with pytest.raises(RecordError, match=r"its schema has the id 9, which is none of the announced ones"):
        announced.decode_sample(sent(9, OLD, age=1, ill=1))
    keyed = get_codec(StreamFormat("CONFLUENT_AVRO", {"fields": ["age"], "schemas": {"7": OLD, "1": '"int"'}}))
    _, y = keyed.decode_records(records([sent(7, OLD, age=40, ill=1)], [framed(1, b"\4")]))
    assert y.tolist() == [2]


@pytest.mark.parametrize(
    ("answers", "error", "reason"),
    [
        ([(404, {"error_code": 40403})], RecordError, "its schema 7 is not in the registry"),
        ([(500, "oops")], SchemaRegistryError, "answers status 500 without a schema"),
        ([(302, "")], SchemaRegistryError, "answers status 302 without a schema"),
        ([(200, "<html>")], SchemaRegistryError, "answers status 200 without a schema"),
        ([(200, "[" * 100_000)], SchemaRegistryError, "answers status 200 without a schema"),
        ([(200, "x" * 400_000)], SchemaRegistryError, "is larger than 262,144 bytes"),
        ([(200, {"schema": "{}", "schemaType": "PROTOBUF"})], RecordError, "is not of the type AVRO"),
        ([(200, {"schema": '"int"', "references": [{"name": "x"}]})], RecordError, "refers to others"),
        ([(200, {"schema": "nonsense schema"})], RecordError, "cannot be used: the schema is not JSON"),
        ([(200, {"schema": '"int"'})], RecordError, "its value is Avro of type int, expected a record"),
        ([2.0], SchemaRegistryError, "does not answer .*ReadTimeoutError"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_schema_is_one_clear_line(registry, monkeypatch, answers, error, reason):
    monkeypatch.setattr(schema_registry, "READ_S", 0.5)
    schema_registry._pool.cache_clear()
    registry.first = list(answers)
    began = time.monotonic()
    with pytest.raises(error, match=reason) as raised:
        codec(registry).decode_sample(framed(7, b"\0"))
    assert time.monotonic() - began < 5
    assert "\n" not in str(raised.value)
    schema_registry._pool.cache_clear()


def test_only_the_configured_addresses_are_asked(registry, monkeypatch):
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://elsewhere:8081")
    with pytest.raises(SchemaRegistryError, match=r"which SCHEMA_REGISTRY_URL does not name, so it is not asked"):
        codec(registry).decode_sample(framed(7, b"\0\0"))
    assert registry.asked == []


def test_a_registry_that_is_down_is_told(monkeypatch):
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
    away = get_codec(StreamFormat("CONFLUENT_AVRO", {**CONFIG, "registry": "http://127.0.0.1:9"}))
    with pytest.raises(
        SchemaRegistryError, match=r"the schema registry does not answer http://127.0.0.1:9/schemas/ids/7"
    ):
        away.decode_sample(framed(7, b"\0\0"))


def test_records_with_ever_new_ids_ask_a_few_times_only(registry):
    values = [framed(number, b"\0\0") for number in range(200)]
    with pytest.raises(RecordError):
        codec(registry).decode_records(records(values, [b""] * 200))
    assert len(registry.asked) <= 2


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"fields": ["age"]}, "input_config.schemas: give the schemas by their ids"),
        ({**CONFIG, "schemas": []}, "input_config.schemas: give an object"),
        ({**CONFIG, "schemas": {"x": OLD}}, "input_config.schemas: 'x' is no id"),
        ({**CONFIG, "schemas": {"4294967296": OLD}}, "is no id"),
        ({**CONFIG, "schemas": {"7": {"type": "record"}}}, "input_config.schemas.7: it is not an Avro schema"),
        *(
            ({**CONFIG, "registry": address}, "input_config.registry: give the address")
            for address in (
                7,
                "registry",
                "file:///etc/passwd",
                "http://",
                "http://u:p@host",
                "http://h:99999",
                "http://h/?q",
            )
        ),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_used_names_the_field(config, reason):
    with pytest.raises(AnnouncementError, match=reason):
        get_codec(StreamFormat("CONFLUENT_AVRO", config))


def test_json_has_the_same_head():
    found = get_codec(StreamFormat("CONFLUENT_JSON", {**CONFIG, "schema_id": 3}))
    x, y = found.decode_records(
        records([framed(3, b'{"age": 40, "ill": true}'), framed(9, b'{"age": 1, "ill": 0}')], [b""] * 2)
    )
    assert (x.tolist(), y.tolist()) == ([[40.0], [1.0]], [1, 0])
    assert found.write({"age": 1}) == b'\0\0\0\0\3{"age":1}'
    with pytest.raises(RecordError, match=r"does not begin with a zero byte and a schema id"):
        found.decode_sample(b'{"age": 40}')
    with pytest.raises(AnnouncementError, match=r"schema_id"):
        get_codec(StreamFormat("CONFLUENT_JSON", {**CONFIG, "schema_id": -1}))


def test_the_settings_name_addresses():
    assert schema_registries({"SCHEMA_REGISTRY_URL": " http://a:1/,https://b/apis/ccompat/v7 "}) == {
        "http://a:1",
        "https://b/apis/ccompat/v7",
    }
    with pytest.raises(SettingsError, match=r"SCHEMA_REGISTRY_URL"):
        schema_registries({"SCHEMA_REGISTRY_URL": "registry:8081"})
