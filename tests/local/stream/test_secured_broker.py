"""A broker with SASL and access rights, and one that dies: the two things the shared one cannot show."""

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, cast

import numpy as np
import pytest
from support.data import write_one
from support.secured import SecuredKafka
from support.serving import read_topic

from fedstream.errors import BrokerError, DeadlineError
from fedstream.record.offsets import parse_ranges
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.serving.versions import Served, ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.stream import reader, writer
from fedstream.stream.client import consumer
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import check_retention, read_ranges, wait_for_data
from fedstream.stream.writer import RecordWriter


@pytest.fixture
def secured(secured_kafka: SecuredKafka, topic: str) -> KafkaSettings:
    """Return the settings of admin, who has written 5 records to the topic."""
    sender = RecordWriter(secured_kafka.admin)
    for number in range(5):
        sender.write(topic, bytes([number]), b"k")
    sender.flush()
    sender.close()
    return secured_kafka.admin


def test_who_may_read_reads(secured: KafkaSettings, topic: str) -> None:
    assert list(read_ranges(secured, parse_ranges(f"{topic}:0:0:5"), 20).values) == [
        bytes([number]) for number in range(5)
    ]


def test_a_missing_right_names_user_and_topic(secured_kafka: SecuredKafka, secured: KafkaSettings, topic: str) -> None:
    guest = secured_kafka.guest()
    ranges = parse_ranges(f"{topic}:0:0:5")
    for ask in (
        lambda: check_retention(guest, ranges),
        lambda: wait_for_data(guest, ranges, 5),
        lambda: read_ranges(guest, ranges, 5),
        lambda: read_announcements(guest, topic, 5),
    ):
        with pytest.raises(BrokerError, match=f"user 'guest' may not use topic '{topic}'"):
            ask()
    with pytest.raises(BrokerError, match=f"user 'guest' may not use topic '{topic}'"):
        write_one(guest, topic)


class FirstByte:
    """A version whose prediction is the record's first byte."""

    def current(self) -> Served:
        codec = RawCodec(np.dtype(np.uint8), (1,), np.dtype(np.uint8), ())
        return Served("first-byte", 1, "0" * 64, codec, lambda samples: samples.astype(np.float32))


def inference(kafka: KafkaSettings, topic: str, stop: threading.Event) -> Inference:
    return Inference(
        kafka, Streams(topic, f"{topic}-out", "", f"group-{topic}"), cast(ServedVersion, FirstByte()), Pace(), stop
    )


def join(kafka: KafkaSettings, group: str, topic: str) -> None:
    with consumer(kafka, group) as member:
        member.subscribe([topic])
        while True:
            member.poll(timeout_ms=500)


def test_inference_needs_the_right_to_its_group(secured_kafka: SecuredKafka, topic: str) -> None:
    with pytest.raises(BrokerError, match="user 'guest' may not use consumer group 'of-guests'"):
        join(secured_kafka.guest(), "of-guests", topic)


def test_inference_goes_on_when_the_broker_comes_back(
    secured_server: SecuredKafka, secured: KafkaSettings, topic: str
) -> None:
    stop = threading.Event()
    running = inference(secured, topic, stop)
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(running.run)
        try:
            await_count(running, 5, ended)
            secured_server.kill()
            secured_server.start()
            write_one(secured, topic, b"\5")
            await_count(running, 6, ended)
        finally:
            stop.set()
        assert ended.result(90).predictions == running.counts.records
    values = [json.loads(record.value)["values"] for record in read_topic(secured, f"{topic}-out")]
    assert sorted(values)[-1] == [5.0]
    assert {value for (value,) in values} == {0, 1, 2, 3, 4, 5}


def await_count(running: Inference, count: int, ended: Future[Any]) -> None:
    end = time.monotonic() + 90
    while running.counts.records < count:
        assert not ended.done(), ended.exception()
        assert time.monotonic() < end, running.counts
        time.sleep(0.05)


def test_a_broker_that_dies_ends_reads_waits_and_sends(
    secured_server: SecuredKafka, secured: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STALL_S", 0.2)
    monkeypatch.setattr(writer, "REQUEST_MS", 1500)
    ranges = parse_ranges(f"{topic}:0:0:9")
    sender = RecordWriter(secured)
    sender.write(f"{topic}-sent", b"v", b"k")
    sender.flush()
    with ThreadPoolExecutor() as pool:
        waiting, reading = pool.submit(wait_for_data, secured, ranges, 8), pool.submit(read_ranges, secured, ranges, 8)
        killer = threading.Timer(3.0, secured_server.kill)
        killer.start()
        began = time.monotonic()
        with pytest.raises(
            DeadlineError, match=r"5 of 9 records of .* could be read in time \(the brokers .* do not answer"
        ):
            reading.result(20)
        with pytest.raises(DeadlineError, match=r"5 of 9 announced records arrived in 8 s .*do not answer"):
            waiting.result(20)
        killer.join()
    assert time.monotonic() - began < 25
    sender.write(f"{topic}-sent", b"v", b"k")
    with pytest.raises(BrokerError, match="do not answer"):
        sender.flush()
    sender.close()


def test_reads_and_waits_go_on_when_the_broker_comes_back(
    secured_server: SecuredKafka, secured: KafkaSettings, topic: str
) -> None:
    ranges = parse_ranges(f"{topic}:0:0:6")
    with ThreadPoolExecutor() as pool:
        waiting, reading = (
            pool.submit(wait_for_data, secured, ranges, 90),
            pool.submit(read_ranges, secured, ranges, 90),
        )
        assert not wait([waiting, reading], timeout=3.0).done
        secured_server.kill()
        secured_server.start()
        write_one(secured, topic, b"\5")
        waiting.result(90)
        assert list(reading.result(90).values) == [bytes([number]) for number in range(6)]
