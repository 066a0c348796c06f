"""What `fedstream stream list` and `fedstream stream show` say of streams."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from typer.testing import CliRunner

from fedstream.cli.stream import stream_app
from fedstream.errors import RecordError, UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream import OnlineFederatedRawSink
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import send_dataset
from fedstream.stream.writer import RecordWriter

X = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8)
Y = (np.arange(40) % 4).astype(np.uint8)
MODEL = "builtin:numpy-softmax"


@pytest.fixture(autouse=True)
def _environment(platform_env: dict[str, str]) -> None:
    """The commands find the servers."""


def run(*words: str) -> Any:
    return CliRunner().invoke(stream_app, words)


def listed(client: str, *words: str) -> list[dict[str, Any]]:
    done = run("list", "--json", *words)
    assert done.exit_code == 0, done.output
    return [row for row in json.loads(done.stdout) if row["client"] == client]


def announce(kafka: KafkaSettings, client: str, topic: str) -> None:
    writer = RecordWriter(kafka)
    message = DataAnnouncement(topic=topic, client=client, input_format="RAW", input_config={})
    writer.write(DATA_CONTROL_TOPIC, message.to_bytes(), UNLABELLED)
    writer.flush()
    writer.close()


def test_the_list_counts_the_records_that_are_still_there(kafka: KafkaSettings, topic: str) -> None:
    send_dataset(kafka, topic, topic, X, Y)
    announce(kafka, f"{topic}-gone", f"{topic}-no-such-topic:0:0:5")
    with OnlineFederatedRawSink(kafka.bootstrap_servers, f"{topic}-online", 1) as online:
        online.send_online_control_msg(X[0], Y[0])
        online.send(X[0], Y[0])
    assert [(row["records"], row["kept"]) for row in listed(topic)] == [(40, 40)]
    assert [(row["records"], row["kept"]) for row in listed(f"{topic}-gone")] == [(5, 0)]
    (row,) = listed(f"{topic}-online")
    assert (row["kept"], row["incremental"]) == (1, True)
    admin = KafkaAdminClient(**kafka.client_args())
    admin.delete_records({TopicPartition(topic, 0): 15})
    admin.close()
    assert [(row["records"], row["kept"]) for row in listed(topic)] == [(40, 25)]
    send_dataset(kafka, topic, topic, X, Y)
    assert [row["kept"] for row in listed(topic)] == [None, 40], "what does not count is not asked for"
    assert " kept " in run("list").stdout


def test_the_list_says_which_streams_fit_a_model_and_why_others_do_not(kafka: KafkaSettings, topic: str) -> None:
    send_dataset(kafka, f"{topic}.a", f"{topic}.a", X, Y)
    send_dataset(kafka, f"{topic}.b", f"{topic}.b", X.reshape(40, 64), Y)
    announce(kafka, f"{topic}.c", f"{topic}.c:0:0:5")
    fits = [listed(f"{topic}.{client}", "--model", MODEL)[0]["misfit"] for client in "abc"]
    assert fits[0] == ""
    assert "has input (8, 8), which does not fit the stream's records of shape (64,)" in fits[1]
    assert "input_config." in fits[2]
    assert f"fits {MODEL}" in run("list", "--model", MODEL).stdout
    assert "there is no model 'nobody'" in str(run("list", "--model", "nobody").exception)
    assert "misfit" not in listed(f"{topic}.a")[0]


def test_a_stream_of_pictures_is_shown(kafka: KafkaSettings, topic: str, tmp_path: Path) -> None:
    send_dataset(kafka, topic, topic, X, Y, classes=["cat", "dog", "<b>cow", "emu"])
    done = run("show", "--client", topic, "--records", "2", "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0, done.output
    assert f"client {topic}: RAW records, uint8 of shape 8 8" in done.stdout
    assert "40 records announced, 40 of them still there; the first 40 were read" in done.stdout
    assert f"{topic}:0:1" in done.stdout
    assert f"{topic}:0:2" not in done.stdout
    assert done.stdout.count("label cat") == 1
    assert "█" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert page.count("▀") > 2 * 8 * 4 - 1
    assert "&lt;b&gt;cow" in page
    assert "<b>cow" not in page


def test_the_document_has_the_samples_and_how_often_each_class_occurs(kafka: KafkaSettings, topic: str) -> None:
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    send_dataset(kafka, topic, topic, x, Y, features=["age", "bmi"], format="JSON")
    done = json.loads(run("show", "--client", topic, "--topic", topic, "--records", "1", "--json").stdout)
    assert done == {
        "client": topic,
        "stream": f"{topic}:0:0:40",
        "format": "JSON",
        "shape": [2],
        "type": "float32",
        "records": 40,
        "kept": 40,
        "read": 40,
        "labels": {"0": 10, "1": 10, "2": 10, "3": 10},
        "samples": [{"at": f"{topic}:0:0", "label": 0, "data": [0.0, 1.0]}],
    }
    assert "age=0.0 bmi=1.0" in run("show", "--client", topic).stdout


def test_labels_that_are_measurements_have_a_range(kafka: KafkaSettings, topic: str) -> None:
    send_dataset(kafka, topic, topic, np.zeros((60, 20), np.float32), np.arange(60) / 2)
    done = run("show", "--client", topic)
    assert "labels from 0.0 to 29.5" in done.stdout
    assert "0.0 0.0 ..." in done.stdout


def test_an_online_stream_is_shown_as_far_as_it_goes(kafka: KafkaSettings, topic: str) -> None:
    with OnlineFederatedRawSink(kafka.bootstrap_servers, topic, 1) as online:
        online.send_online_control_msg(X[0], Y[0])
    assert "0 records announced" in run("show", "--client", topic).stdout
    with OnlineFederatedRawSink(kafka.bootstrap_servers, topic, 1) as online:
        online.send_online_control_msg(X[0], Y[0])
        online.send(X[1], Y[1])
    assert json.loads(run("show", "--client", topic, "--json").stdout)["labels"] == {"1": 1}


def test_a_record_that_is_not_as_announced_is_named(kafka: KafkaSettings, topic: str) -> None:
    send_dataset(kafka, topic, topic, X, Y)
    config = {"data_type": "uint8", "data_reshape": "8 4", "label_type": "uint8", "label_reshape": "1"}
    writer = RecordWriter(kafka)
    message = DataAnnouncement(topic=f"{topic}:0:3:9", client=topic, input_format="RAW", input_config=config)
    writer.write(DATA_CONTROL_TOPIC, message.to_bytes(), UNLABELLED)
    writer.flush()
    writer.close()
    done = run("show", "--client", topic)
    assert isinstance(done.exception, RecordError)
    assert f"record {topic}:0:3" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--client", "nobody-at-all"], "no announcement of client 'nobody-at-all' counts"),
        (
            ["--client", "nobody-at-all", "--topic", "t"],
            "no announcement of topic 't' for client 'nobody-at-all'",
        ),
        (["--client", "o'brien"], "client name"),
    ],
)
def test_what_cannot_be_shown_is_a_usage_error(words: list[str], reason: str) -> None:
    done = run("show", *words)
    assert isinstance(done.exception, UsageError), done.output
    assert reason in str(done.exception)
