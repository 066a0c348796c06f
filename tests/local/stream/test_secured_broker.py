"""A broker with SASL and access rights, and one that dies: the two things the shared one cannot show."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from support.data import write_one
from support.serving import read_topic

from fedstream.errors import BrokerError, DeadlineError
from fedstream.local.kafka import KafkaServer
from fedstream.local.service import NotReadyError
from fedstream.record.offsets import parse_ranges
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.serving.versions import Served, ServedVersion
from fedstream.settings import KafkaSettings
from fedstream.stream import client, reader, writer
from fedstream.stream.client import admin, consumer
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import check_retention, read_ranges, topic_bounds, wait_for_data
from fedstream.stream.writer import RecordWriter

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


class SecuredKafka(KafkaServer):
    """The embedded Kafka with two users: admin, who may do everything, and guest, who may do nothing."""

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(self.address, "SASL_PLAINTEXT", "PLAIN", "admin", "admin-secret")

    def _properties(self) -> dict[str, object]:
        plain = super()._properties()
        users = 'username="admin" password="admin-secret" user_admin="admin-secret" user_guest="guest-secret"'
        return plain | {
            "listeners": str(plain["listeners"]).replace("PLAINTEXT:", "SASL_PLAINTEXT:"),
            "advertised.listeners": str(plain["advertised.listeners"]).replace("PLAINTEXT:", "SASL_PLAINTEXT:"),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "security.inter.broker.protocol": "SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{LOGIN} required {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",
            # After a crash the controller lets the broker back in only when it has given up the dead one.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
        }

    def probe(self) -> None:
        try:
            with admin(self.settings) as asked:
                asked.list_topics()
        except BrokerError as error:
            raise NotReadyError(str(error)) from error


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    running = SecuredKafka(tmp_path_factory.mktemp("secured"), bound=True, say=print)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def secured(server: SecuredKafka, topic: str) -> KafkaSettings:
    """Return the settings of admin, who has written 5 records to the topic."""
    if not server.running:
        server.start()
    sender = RecordWriter(server.settings)
    for number in range(5):
        sender.write(topic, bytes([number]), b"k")
    sender.flush()
    sender.close()
    return server.settings


def test_who_may_read_reads(secured: KafkaSettings, topic: str) -> None:
    assert list(read_ranges(secured, parse_ranges(f"{topic}:0:0:5"), 20).values) == [
        bytes([number]) for number in range(5)
    ]


def test_a_wrong_password_is_said_to_be_one_and_not_shown(
    secured: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 1.0)
    with pytest.raises(
        BrokerError, match=r"refuse the credentials of user 'admin' .*check KAFKA_USERNAME, KAFKA_PASSWORD"
    ) as caught:
        topic_bounds(replace(secured, password="wrong-secret"), topic)
    assert "wrong-secret" not in str(caught.value)
    with pytest.raises(BrokerError, match="refuse the credentials"):
        RecordWriter(replace(secured, password="wrong-secret"))


def test_no_login_where_one_is_needed_is_a_broker_error(
    secured: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 1.0)
    with pytest.raises(
        BrokerError, match=r"do not answer as PLAINTEXT .*check KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL"
    ):
        topic_bounds(KafkaSettings(secured.bootstrap_servers), topic)


def test_a_missing_right_names_user_and_topic(secured: KafkaSettings, topic: str) -> None:
    guest = replace(secured, username="guest", password="guest-secret")
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


def test_inference_needs_the_right_to_its_group(secured: KafkaSettings, topic: str) -> None:
    guest = replace(secured, username="guest", password="guest-secret")
    with pytest.raises(BrokerError, match="user 'guest' may not use consumer group 'of-guests'"):
        join(guest, "of-guests", topic)


def test_inference_goes_on_when_the_broker_comes_back(server: SecuredKafka, secured: KafkaSettings, topic: str) -> None:
    stop = threading.Event()
    running = inference(secured, topic, stop)
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(running.run)
        try:
            await_count(running, 5, ended)
            server.kill()
            server.start()
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
    server: SecuredKafka, secured: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STALL_S", 0.2)
    monkeypatch.setattr(writer, "REQUEST_MS", 1500)
    ranges = parse_ranges(f"{topic}:0:0:9")
    sender = RecordWriter(secured)
    sender.write(f"{topic}-sent", b"v", b"k")
    sender.flush()
    with ThreadPoolExecutor() as pool:
        waiting, reading = pool.submit(wait_for_data, secured, ranges, 4), pool.submit(read_ranges, secured, ranges, 4)
        killer = threading.Timer(0.7, server.kill)
        killer.start()
        began = time.monotonic()
        with pytest.raises(
            DeadlineError, match=r"5 of 9 records of .* could be read in time \(the brokers .* do not answer"
        ):
            reading.result(20)
        with pytest.raises(DeadlineError, match=r"5 of 9 announced records arrived in 4 s .*do not answer"):
            waiting.result(20)
        killer.join()
    assert time.monotonic() - began < 12
    sender.write(f"{topic}-sent", b"v", b"k")
    with pytest.raises(BrokerError, match="do not answer"):
        sender.flush()
    sender.close()


def test_reads_and_waits_go_on_when_the_broker_comes_back(
    server: SecuredKafka, secured: KafkaSettings, topic: str
) -> None:
    ranges = parse_ranges(f"{topic}:0:0:6")
    with ThreadPoolExecutor() as pool:
        waiting, reading = (
            pool.submit(wait_for_data, secured, ranges, 90),
            pool.submit(read_ranges, secured, ranges, 90),
        )
        assert not wait([waiting, reading], timeout=0.7).done
        server.kill()
        server.start()
        write_one(secured, topic, b"\5")
        waiting.result(90)
        assert list(reading.result(90).values) == [bytes([number]) for number in range(6)]
