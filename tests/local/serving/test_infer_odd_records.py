"""Records that Kafka does not take on, or no longer has, predicted by the obvious model: none holds up the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.serializer import Serializer
from support.serving import read_topic

from fedstream.serving.inference import Inference, Pace
from fedstream.serving.versions import Served
from fedstream.stream.client import admin
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.reader import topic_bounds
from fedstream.stream.send import create_topic

GOOD = np.ones(2, np.float32).tobytes()
LONG = np.full(2, 0.1, np.float32).tobytes()
SERVED = Served(
    "m", 1, "e" * 64, RawCodec(np.dtype(np.float32), (2,), np.dtype(np.uint8), ()), lambda x: np.repeat(x, 200, axis=1)
)
"""Gives records back at length: in JSON, 1.0 takes 3 characters and float32's 0.1 has 19."""


class Emptied(Serializer):
    """Sends no value for an empty one."""

    def serialize(self, topic, headers, data):
        return data or None


@pytest.fixture
def send(kafka, streams):
    """Return a function that sends pairs of key and value:
    kafka-python refuses neither of both, and longer records than the brokers do.
    """
    writer = KafkaProducer(**kafka.client_args(), max_request_size=2**21, value_serializer=Emptied())

    def send(*records):
        for key, value in records:
            writer.send(streams.input_topic, value=value, key=key)
        writer.flush()

    yield send
    writer.close()


def member(kafka, streams, until_end, stop):
    return Inference(kafka, streams, SimpleNamespace(current=lambda: SERVED), Pace(until_end=until_end), stop)


def predict(kafka, streams):
    return member(kafka, streams, True, threading.Event()).run()


def create_small(kafka, topic):
    with admin(kafka) as client:
        client.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "5000"})])


def test_a_record_with_neither_key_nor_value_goes_to_the_error_topic(kafka, streams, send):
    send((None, b""), (None, GOOD))
    counts = predict(kafka, streams)
    assert (counts.records, counts.predictions, counts.rejected) == (2, 1, 1)
    (record,) = read_topic(kafka, streams.error_topic)
    assert (record.key, record.value) == (None, b"")
    assert dict(record.headers)["fedstream-error"] == b"it has no value, expected 8 bytes (float32 of shape (2,))"


def test_a_record_that_fills_a_message_is_told_of_though_its_headers_find_no_room(kafka, streams, send, caplog):
    send((b"a", bytes(1_048_400)), (b"b", GOOD), (b"c", b"short"))
    counts = predict(kafka, streams)
    assert (counts.records, counts.predictions, counts.rejected) == (3, 1, 2)
    assert [record.key for record in read_topic(kafka, streams.error_topic)] == [b"c"]
    assert (
        f"records too large for topic {streams.error_topic!r}, which stay in the input only: {streams.input_topic}:0:0"
        in caplog.text
    )
    assert predict(kafka, streams).records == 0


def test_a_prediction_that_its_topic_does_not_take_is_the_records_fault(kafka, streams, send):
    create_small(kafka, streams.output_topic)
    send((b"a", GOOD), (b"b", GOOD))
    assert predict(kafka, streams).predictions == 2
    send((b"c", GOOD), (b"d", LONG), (b"e", GOOD), (b"f", b"short"))
    counts = predict(kafka, streams)
    assert (counts.predictions, counts.rejected) == (2, 2)
    found = read_topic(kafka, streams.output_topic)
    assert [record.key for record in found] == [b"a", b"b", b"c", b"e"]
    short, record = read_topic(kafka, streams.error_topic)
    assert (short.key, record.key, record.value) == (b"f", b"d", LONG)
    assert (
        dict(record.headers)["fedstream-error"]
        == f"its prediction is too large for topic {streams.output_topic!r}".encode()
    )


def test_the_end_is_reached_though_another_member_has_a_partition_whose_records_are_deleted(kafka, streams, send):
    create_topic(kafka, streams.input_topic, 2)
    send(*[(b"%d" % number, GOOD) for number in range(20)])
    ends = {
        TopicPartition(streams.input_topic, number): end
        for number, (_, end) in topic_bounds(kafka, streams.input_topic).items()
    }
    assert all(ends.values())
    with admin(kafka) as client:
        client.delete_records(ends)
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(member(kafka, streams, False, stop).run)
        one = pool.submit(member(kafka, streams, True, stop).run)
        try:
            assert one.result(15.0).records == 0
        finally:
            stop.set()
        assert other.result(15.0).records == 0
