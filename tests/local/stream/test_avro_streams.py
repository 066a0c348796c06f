"""AVRO and JSON records on a real broker, in several partitions: Kafka-ML's federated path crashes on each of these."""

import json
import uuid

import numpy as np
import pytest
from kafka import KafkaProducer
from support.inprocess import pictures

from fedstream.audit import verify_run
from fedstream.local.inprocess import run_inprocess
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.stream.announcement import DATA_CONTROL_TOPIC, DataAnnouncement
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.client import admin
from fedstream.stream.codec.avro import write_avro
from fedstream.stream.codec.avro_schema import parsed_schema
from fedstream.stream.reader import topic_bounds
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import create_topic, send_dataset


def scheme(**fields):
    return json.dumps(
        {"type": "record", "name": "r", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    )


def kafka_ml_avro(kafka, topic, x, y):
    """Send records as Kafka-ML's AVRO sink does, with another program's producer, and announce them as it does."""
    columns = {f"p{number}": "int" for number in range(64)}
    data, label = scheme(**columns), scheme(digit="int")
    writer = KafkaProducer(**kafka.client_args())
    for number, (sample, digit) in enumerate(zip(x.reshape(-1, 64).tolist(), y.tolist(), strict=True)):
        value = write_avro(dict(zip(columns, sample, strict=True)), parsed_schema(data))
        writer.send(topic, value=value, key=write_avro({"digit": digit}, parsed_schema(label)), partition=number % 3)
    writer.flush()
    bounds = topic_bounds(kafka, topic)
    said = DataAnnouncement(
        topic=",".join(f"{topic}:{partition}:{first}:{end}" for partition, (first, end) in bounds.items()),
        input_format="AVRO",
        input_config={"data_scheme": data, "label_scheme": label, "data_reshape": "8 8"},
        client=topic,
        validation_rate=0.2,
    )
    writer.send(DATA_CONTROL_TOPIC, value=said.to_bytes(), key=UNLABELLED)
    writer.close()


@pytest.mark.parametrize("format", ["AVRO", "JSON", "CONFLUENT_AVRO"])
def test_mistake_7_avro_json_and_streams_of_several_partitions_crash(kafka, platform_env, format):
    name, store = f"f{uuid.uuid4().hex[:6]}", ObjectStore.from_env()
    topics = [f"{name}.a", f"{name}.b"]
    for topic in topics:
        create_topic(kafka, topic, 3)
    if format == "AVRO":
        kafka_ml_avro(kafka, topics[0], *pictures(1, 60))
    else:
        send_dataset(kafka, topics[0], topics[0], *pictures(1, 60), format=format, validation_rate=0.2)
    send_dataset(kafka, topics[1], topics[1], *pictures(2, 60), format=format, validation_rate=0.2)
    spec = {"run": name, "model": "builtin:numpy-softmax", "clients": topics, "rounds": 2, "batch_size": 10}
    run_inprocess(spec)
    run = RunState(store, name)
    for entry in run.ledger.commits()[2].clients:
        assert (entry.reason, sum(part.end - part.start for part in entry.ranges)) == ("valid", 60)
    if format == "AVRO":
        assert {part.partition for part in run.slice(1, topics[0]).ranges} == {0, 1, 2}
    assert {client.input_format for client in run.record.clients} == {format}
    counts = np.bincount(pictures(1, 60)[1])
    assert run.slice(1, topics[0]).class_counts == {str(digit): int(n) for digit, n in enumerate(counts) if n}
    assert verify_run(store, name, brokers=EnvironmentBrokers()).problems == []
    with admin(kafka) as asked:
        asked.delete_topics(topics)
