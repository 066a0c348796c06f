"""JSON records through the whole house: sent, announced, ingested, trained on, measured, verified,
reported and predicted.
"""

import json
import threading
import uuid

import numpy as np
import pytest
from kafka import KafkaProducer
from support.serving import read_topic
from typer.testing import CliRunner

from fedstream.audit import verify_run
from fedstream.catalog.models import add_model
from fedstream.cli.app import app
from fedstream.errors import ModelError, RecordError, UsageError
from fedstream.local.inprocess import run_inprocess
from fedstream.model import keras
from fedstream.model.files import load_keras, save_keras
from fedstream.record.format import StreamFormat
from fedstream.record.layout import ModelKeys
from fedstream.report.html import render_report
from fedstream.report.view import build_view
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.serving.versions import ServedVersion
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.announced import counting
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.codec import get_codec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import read_ranges
from fedstream.stream.send import send_dataset

FEATURES = ["age", "bmi", "pressure", "sugar"]
DATA_TOPIC = "FEDERATED_DATA_CONTROL_TOPIC"


def table(seed: int, records: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return records whose class is seen in the difference of the first and the last column."""
    x = np.random.default_rng(seed).normal(size=(records, 4)).astype(np.float32)
    return x, (x[:, 0] > x[:, 3]).astype(np.uint8)


def column_order(x: np.ndarray, features: list[str]) -> np.ndarray:
    return x[:, [FEATURES.index(name) for name in features]]


@pytest.fixture
def run(platform, platform_env):
    """A finished run: `a` sends JSON with the label in the key, `b` JSON in another order with the label as a field,
    the evaluation RAW.
    """
    name, store = f"j{uuid.uuid4().hex[:6]}", ObjectStore.from_env()
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    add_model(store, "table", save_keras(network))
    send_dataset(
        platform.kafka, f"{name}.a", f"{name}.a", *table(1), format="JSON", features=FEATURES, validation_rate=0.2
    )
    x, y = table(2)
    named = {"features": FEATURES[::-1], "config": {"label_field": "ill"}}
    send_dataset(
        platform.kafka,
        f"{name}.b",
        f"{name}.b",
        column_order(x, FEATURES[::-1]),
        y,
        format="JSON",
        validation_rate=0.2,
        **named,
    )
    send_dataset(platform.kafka, f"{name}.held", f"{name}.held", *table(3), features=FEATURES)
    clients = [f"{name}.a", f"{name}.b"]
    run_inprocess(
        {
            "run": name,
            "model": "table",
            "clients": clients,
            "rounds": 2,
            "batch_size": 10,
            "evaluation_topic": f"{name}.held",
        }
    )
    return RunState(store, name)


def test_a_run_on_json_records_is_committed_verified_reported_and_served(run, kafka, topic):
    commits = run.ledger.commits()
    assert [entry.reason for entry in commits[-1].clients] == ["valid", "valid"]
    assert [(client.input_format, client.records, client.features) for client in run.record.clients] == [
        ("JSON", 50, FEATURES),
        ("JSON", 50, FEATURES[::-1]),
    ]
    assert run.record.evaluation.input_format == "RAW"
    document = run.slice(2, f"{run.run}.b")
    assert document.format == run.record.client(f"{run.run}.b").format
    assert document.class_counts == {
        str(label): int(count) for label, count in zip(*np.unique(table(2)[1], return_counts=True), strict=True)
    }
    assert verify_run(run.store, run.run, brokers=EnvironmentBrokers()).problems == []
    assert run.run in render_report(build_view(run.store, run.run))
    check_inference(run, kafka, topic, None)
    with pytest.raises(
        ModelError, match=r"has input shape \(4,\), which does not fit records of shape \(2,\); correct --input-config"
    ):
        ServedVersion(run.store, "table", 1, StreamFormat("JSON", {"fields": ["age", "bmi"]}), 0.0)
    check_inference(run, kafka, f"{topic}-named", StreamFormat("JSON", {"fields": FEATURES[::-1]}))


def check_inference(run, kafka, topic, laid_out):
    """Records of any order of fields are predicted by name, and those that are none are answered with the reason."""
    x, _ = table(4, 20)
    writer = KafkaProducer(**kafka.client_args())
    for number, row in enumerate(column_order(x, FEATURES[::-1])):
        writer.send(
            topic, value=json.dumps(dict(zip(FEATURES[::-1], row.tolist(), strict=True))).encode(), key=b"%d" % number
        )
    writer.send(topic, value=b'{"age": 1, "bmi": "high"}', key=b"20")
    writer.close()
    streams = Streams(topic, f"{topic}-out", f"{topic}-bad", f"{topic}-group")
    version = ServedVersion(run.store, "table", 1, laid_out, 0.0)
    counts = Inference(kafka, streams, version, Pace(until_end=True), threading.Event()).run()
    assert (counts.predictions, counts.rejected) == (20, 1)
    values = {int(record.key): json.loads(record.value)["values"] for record in read_topic(kafka, streams.output_topic)}
    wanted = load_keras(run.store.get(ModelKeys("table").version(1, "model.keras"))).predict(x, verbose=0)
    np.testing.assert_allclose([values[number] for number in range(20)], wanted, rtol=1e-5, atol=1e-7)
    [wrong] = read_topic(kafka, streams.error_topic)
    assert (b"field 'bmi' is a str, expected a number") in dict(wrong.headers)["fedstream-error"]


def test_records_of_other_programs_need_no_key_where_their_label_is_a_field(kafka, topic):
    writer = KafkaProducer(**kafka.client_args())
    for number in range(5):
        writer.send(
            topic,
            value=json.dumps({"id": f"p{number}", "a": number, "ill": number % 2, "b": 0.5}).encode(),
            key=b"ward 7" if number else None,
        )
    writer.close()
    said = DataAnnouncement(
        topic=f"{topic}:0:0:5", input_format="JSON", input_config={"fields": ["a", "b"], "label_field": "ill"}
    )
    codec = get_codec(said.format)
    x, y = codec.decode_records(read_ranges(kafka, said.ranges, 20, codec.record_size))
    assert (x.tolist(), y.tolist()) == ([[n, 0.5] for n in range(5)], [0, 1, 0, 1, 0])
    keyed = get_codec(StreamFormat("JSON", {"fields": ["a", "b"]}))
    with pytest.raises(RecordError, match="has no key"):
        read_ranges(kafka, said.ranges, 20, keyed.record_size)


def test_a_record_larger_than_its_fields_need_is_refused_as_it_is_read(kafka, topic):
    codec = get_codec(StreamFormat("JSON", {"fields": ["a"]}))
    writer = KafkaProducer(**kafka.client_args())
    writer.send(topic, value=b'{"a": 1, "b": "' + b"x" * codec.record_size.value + b'"}', key=b"0")
    writer.close()
    said = DataAnnouncement(topic=f"{topic}:0:0:1", input_format="JSON", input_config=codec.config())
    with pytest.raises(
        RecordError, match=f"record {topic}:0:0: its value has .* bytes, and at most .* are announced; send it again"
    ):
        read_ranges(kafka, said.ranges, 20, codec.record_size)


def test_a_table_is_sent_as_json_from_the_command_line(kafka, topic, platform_env, tmp_path):
    file = tmp_path / "ward.csv"
    file.write_text("age,bmi,outcome\n40,22.5,well\n41,20,ill\n")
    words = [
        "stream",
        "send",
        str(file),
        "--topic",
        topic,
        "--client",
        topic,
        "--label",
        "outcome",
        "--format",
        "JSON",
        "--json",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    [said] = counting(kafka, topic)
    assert said.input_config == {
        "fields": ["age", "bmi"],
        "label_field": "",
        "data_type": "float32",
        "label_type": "int64",
    }
    assert (said.input_format, said.features, said.classes) == ("JSON", ["age", "bmi"], ["ill", "well"])
    records = read_ranges(kafka, said.ranges, 20, get_codec(said.format).record_size)
    assert (list(records.values), list(records.keys)) == (
        [b'{"age":40.0,"bmi":22.5}', b'{"age":41.0,"bmi":20.0}'],
        [b"1", b"0"],
    )
    shown = json.loads(CliRunner().invoke(app, ["stream", "list", "--json"]).stdout)
    [entry] = [entry for entry in shown if entry["client"] == topic]
    assert (entry["format"], entry["shape"], entry["type"], entry["state"]) == ("JSON", "2", "float32", "counts")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "IMAGE"}, "images have pixels of uint8, not float32"),
        ({"format": "TEXT"}, "a TEXT record is one text"),
        ({"format": "XML"}, "input_format: 'XML' is not offered; the formats are AVRO"),
    ],
)
def test_what_cannot_be_sent_in_a_format_is_refused_before_it_is_sent(kafka, topic, options, reason):
    with pytest.raises(UsageError, match=reason):
        send_dataset(kafka, topic, topic, *table(1), **options)
    heard = [parse_data_announcement(data) for _, _, data in read_announcements(kafka, DATA_TOPIC, 20)]
    assert topic not in {said.client for said in heard}
