"""`fedstream infer` on a real Kafka: right values, provenance, bad records, newer versions, shared partitions,
and what goes wrong.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from support.data import blobs
from support.serving import eventually, read_topic, served

from fedstream.errors import TopicError
from fedstream.model.files import load_keras
from fedstream.record.layout import ModelKeys
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.stream.reader import topic_bounds
from fedstream.stream.send import create_topic

MODEL = "builtin:digits-mlp"
KEYS = ModelKeys(MODEL)
WAIT_S = 60.0


def send(kafka, topic, values, partitions=1, headers=()):
    """Send values, whose keys are their numbers, in turn to each partition."""
    create_topic(kafka, topic, partitions)
    writer = KafkaProducer(**kafka.client_args())
    for number, value in enumerate(values):
        writer.send(topic, value=value, key=b"%d" % number, partition=number % partitions, headers=list(headers))
    writer.close()


def predict(kafka, streams, version, **pace):
    return Inference(kafka, streams, version, Pace(until_end=True, **pace), threading.Event()).run()


def expected(published, x, number=1):
    return load_keras(published.store.get(KEYS.version(number, "model.keras"))).predict(x, verbose=0)


def test_predictions_are_those_of_the_model_with_key_headers_and_provenance(published, kafka, streams):
    x, _ = blobs(3, 50)
    send(
        kafka,
        streams.input_topic,
        [sample.tobytes() for sample in x],
        partitions=2,
        headers=[("trace", b"t1"), ("empty", b"")],
    )
    counts = predict(kafka, streams, served(published), batch_size=7)
    assert (counts.records, counts.predictions, counts.rejected) == (50, 50, 0)
    assert counts.batches >= 8
    records = read_topic(kafka, streams.output_topic)
    manifest = published.store.get_json(KEYS.version(1, "manifest.json"))
    values = {int(record.key): json.loads(record.value) for record in records}
    assert sorted(values) == list(range(50))
    np.testing.assert_allclose(
        [values[number]["values"] for number in range(50)], expected(published, x), rtol=1e-5, atol=1e-7
    )
    for record in records:
        number = int(record.key)
        assert record.headers == [
            ("trace", b"t1"),
            ("empty", b""),
            ("fedstream-model", MODEL.encode()),
            ("fedstream-version", b"1"),
            ("fedstream-weights", manifest["weights_digest"].encode()),
            ("fedstream-source", f"{streams.input_topic}:{number % 2}:{number // 2}".encode()),
        ]


def test_a_group_goes_on_where_it_stopped(published, kafka, streams):
    version, x = served(published), [sample.tobytes() for sample in blobs(3, 5)[0]]
    send(kafka, streams.input_topic, x)
    assert predict(kafka, streams, version).records == 5
    assert predict(kafka, streams, version).records == 0
    send(kafka, streams.input_topic, x[:2])
    assert predict(kafka, streams, version).records == 2


def test_records_that_cannot_be_predicted_go_to_the_error_topic_and_hold_nothing_up(published, kafka, streams, caplog):
    good = blobs(3, 1)[0][0].tobytes()
    send(kafka, streams.input_topic, [good, b"short", None, good], headers=[("trace", b"t1")])
    counts = predict(kafka, streams, served(published))
    assert (counts.records, counts.predictions, counts.rejected) == (4, 2, 2)
    assert [record.key for record in read_topic(kafka, streams.output_topic)] == [b"0", b"3"]
    short, empty = read_topic(kafka, streams.error_topic)
    assert (short.key, short.value, dict(short.headers)) == (
        b"1",
        b"short",
        {
            "trace": b"t1",
            "fedstream-error": b"it has a value of 5 bytes, expected 256 bytes (float32 of shape (8, 8))",
            "fedstream-source": f"{streams.input_topic}:0:1".encode(),
        },
    )
    assert (empty.key, empty.value) == (b"2", None)
    assert (
        f"2 of 4 records cannot be predicted; the first is {streams.input_topic}:0:1: it has a value of 5 bytes"
        in caplog.text
    )


def test_a_newer_version_is_picked_up_while_running_once_its_digests_are_right(
    published, publish_next, kafka, streams, caplog
):
    caplog.set_level("INFO", "fedstream.serving")
    x = [sample.tobytes() for sample in blobs(3, 4)[0]]
    version, stop = served(published, number=None), threading.Event()
    send(kafka, streams.input_topic, x)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Inference(kafka, streams, version, Pace(), stop).run)
        try:
            await_predictions(kafka, streams, 4, running)
            assert publish_next() == 2
            eventually(lambda: version.current().number == 2, running)
            send(kafka, streams.input_topic, x)
            await_predictions(kafka, streams, 8, running)
        finally:
            stop.set()
        assert running.result(WAIT_S).records == 8
    assert [dict(record.headers)["fedstream-version"] for record in read_topic(kafka, streams.output_topic)] == [
        b"1"
    ] * 4 + [b"2"] * 4
    assert "predicting with version 2 of builtin:digits-mlp: weights" in caplog.text
    assert served(published, number=1).current().number == 1


def test_two_members_share_the_partitions(published, kafka, streams):
    version, x = served(published), [sample.tobytes() for sample in blobs(3, 60)[0]]
    send(kafka, streams.input_topic, [], partitions=4)
    stop = threading.Event()
    members = [Inference(kafka, streams, version, Pace(), stop) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(member.run) for member in members]
        try:
            # A member may have joined before the other, so they get records until both have predicted some.
            eventually(
                lambda: [send(kafka, streams.input_topic, x, partitions=4)] and all(m.counts.records for m in members),
                *running,
            )
            sent = sum(end - start for start, end in topic_bounds(kafka, streams.input_topic).values())
            eventually(lambda: sum(m.counts.records for m in members) >= sent, *running)
        finally:
            stop.set()
        assert all(future.result(WAIT_S) for future in running)
    sources = {dict(record.headers)["fedstream-source"] for record in read_topic(kafka, streams.output_topic)}
    assert len(sources) == sent


def await_predictions(kafka, streams, count, *running):
    def stored():
        try:
            return sum(end for _, end in topic_bounds(kafka, streams.output_topic).values()) >= count
        except TopicError:
            return False

    eventually(stored, *running)


def test_another_format_can_be_named(published, kafka, streams):
    x = blobs(3, 3)[0].astype(np.uint8)
    send(kafka, streams.input_topic, [sample.tobytes() for sample in x])
    predict(kafka, streams, served(published, config={"data_type": "uint8", "data_reshape": "8 8"}))
    found = [json.loads(record.value)["values"] for record in read_topic(kafka, streams.output_topic)]
    np.testing.assert_allclose(found, expected(published, x.astype(np.float32)), rtol=1e-5, atol=1e-7)


def infer(cli, published, topic, *more):
    return cli("infer", "--model", MODEL, "--input-topic", topic, "--output-topic", f"{topic}-out", *more)


def test_the_command_predicts_to_the_end_and_counts(published, cli, kafka, topic, tmp_path):
    send(kafka, topic, [sample.tobytes() for sample in blobs(3, 5)[0]] + [b"short"])
    said = infer(cli, published, topic, "--until-end", "--json", "--heartbeat-file", str(tmp_path / "beat"))
    assert said.code == 0, said.err
    counts = json.loads(said.out)
    assert counts.pop("batches") >= 1
    assert counts == {"model": MODEL, "version": 1, "records": 6, "predictions": 5, "rejected": 1}
    assert (
        f"predicting {topic} to {topic}-out in consumer group fedstream-infer.{MODEL}.{topic}.{topic}-out" in said.err
    )
    assert "1 of 6 records cannot be predicted" in said.err
    assert (tmp_path / "beat").exists()
    again = infer(cli, published, topic, "--until-end")
    assert again.out == f"0 records, 0 predictions, 0 rejected; version 1 of {MODEL}\n"


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (
            ("--model", "m@0", "--input-topic", "a", "--output-topic", "b"),
            "'m@0' is not a version; pass NAME, NAME@N with N = 1, 2, ...",
            2,
        ),
        (("--model", "m", "--input-topic", "a/b", "--output-topic", "b"), "--input-topic: 'a/b' is no topic name", 2),
        (("--model", "m", "--input-topic", "a", "--output-topic", ""), "--output-topic: '' is no topic name", 2),
        (
            ("--model", "m", "--input-topic", "a", "--output-topic", "a"),
            "predictions and errors cannot be written to the input topic 'a'",
            2,
        ),
        (
            ("--model", "m", "--input-topic", "a", "--output-topic", "b", "--error-topic", "a"),
            "cannot be written to the input topic 'a'",
            2,
        ),
        (("--model", "m", "--input-topic", "a", "--output-topic", "b", "--input-config", "[]"), "--input-config: ", 2),
        (
            ("--model", "m", "--input-topic", "a", "--output-topic", "b"),
            "model 'm' has no published version yet; finish a run of this model first",
            1,
        ),
        (
            ("--model", "m@7", "--input-topic", "a", "--output-topic", "b"),
            "model 'm' has no version 7; none is published yet",
            1,
        ),
        (
            (
                "--model",
                MODEL,
                "--input-topic",
                "a",
                "--output-topic",
                "b",
                "--input-config",
                '{"data_type": "text", "data_reshape": "8 8"}',
            ),
            "input_config.data_type: 'text' is not one of",
            1,
        ),
        (
            (
                "--model",
                MODEL,
                "--input-topic",
                "a",
                "--output-topic",
                "b",
                "--input-format",
                "XML",
                "--input-config",
                '{"fields": ["a"]}',
            ),
            "input_format: 'XML' is not offered; the formats are AVRO, ",
            1,
        ),
        (("--model", MODEL, "--input-topic", "absent-topic", "--output-topic", "b"), "there is no such topic at", 1),
        (
            (
                "--model",
                MODEL,
                "--input-topic",
                "FEDERATED_DATA_CONTROL_TOPIC",
                "--output-topic",
                "b",
                "--heartbeat-file",
                "/absent/beat",
            ),
            "cannot write the heartbeat file '/absent/beat': No such file or directory",
            2,
        ),
    ],
)
def test_what_is_wrong_is_one_line(published, cli, words, said, code):
    answer = cli("infer", *words)
    assert answer.code == code, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_signal_ends_the_command_after_its_batch_and_it_leaves_the_group(published, kafka, topic):
    ends = {signal.SIGTERM: 0, signal.SIGINT: 130}
    running = {number: start(published, kafka, f"{topic}-{number}") for number in ends}
    try:
        for number, process in running.items():
            await_predictions(kafka, Streams("", f"{topic}-{number}-out", "", ""), 1)
            process.send_signal(number)
        for number, process in running.items():
            out, err = process.communicate(timeout=WAIT_S)
            assert process.returncode == ends[number], err
            assert json.loads(out)["records"] == 1
            assert members(kafka, f"{topic}-{number}") == []
    finally:
        for process in running.values():
            process.kill()


def start(published, kafka, topic):
    send(kafka, topic, [blobs(3, 1)[0][0].tobytes()])
    words = ["--model", MODEL, "--input-topic", topic, "--output-topic", f"{topic}-out", "--group", topic, "--json"]
    command = [sys.executable, "-m", "fedstream.cli", "infer", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | published.env
    )


def members(kafka, group):
    client = KafkaAdminClient(**kafka.client_args())
    try:
        return client.describe_groups([group])[group]["members"]
    finally:
        client.close()
