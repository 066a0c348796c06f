import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer, TopicPartition

from fedstream.errors import BrokerError, DeadlineError, RecordError, RetentionError, SettingsError, TopicError
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import OffsetRange, parse_ranges
from fedstream.settings import KAFKA_CLIENTS, KafkaSettings
from fedstream.stream import client, confluent, consumers, reader
from fedstream.stream.client import admin
from fedstream.stream.clients import KeptClients
from fedstream.stream.codec import get_codec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import check_retention, read_part, read_ranges, topic_bounds, wait_for_data
from fedstream.stream.records import RecordSize
from fedstream.stream.send import create_topic

Write = Callable[..., None]
PARTITIONS = 3


@pytest.fixture(params=KAFKA_CLIENTS, autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read with each library in turn."""
    if request.param == "confluent":
        pytest.importorskip("confluent_kafka", reason="the extra `confluent` is not installed")
    monkeypatch.setenv("FEDSTREAM_KAFKA_CLIENT", request.param)
    return str(request.param)


@pytest.fixture
def write(kafka: KafkaSettings, topic: str) -> Iterator[Write]:
    """Write records (key, value) to one partition of the test's topic."""
    create_topic(kafka, topic, PARTITIONS)
    producer = KafkaProducer(**kafka.client_args())

    def write(*records: tuple[bytes | None, bytes | None], partition: int = 0, to: str = topic) -> None:
        for key, value in records:
            producer.send(to, key=key, value=value, partition=partition)
        producer.flush(20)

    yield write
    producer.close(5)


def numbered(count: int, tag: str = "") -> list[tuple[bytes, bytes]]:
    return [(f"k{tag}{number}".encode(), f"value {tag}{number}".encode()) for number in range(count)]


def test_exactly_the_offsets_are_read_in_canonical_order(kafka: KafkaSettings, topic: str, write: Write) -> None:
    for partition in range(PARTITIONS):
        write(*numbered(10, f"{partition}-"), partition=partition)
    ranges = parse_ranges(f"{topic}:2:0:3,{topic}:0:4:6,{topic}:0:8:10,{topic}:1:9:10")
    records = read_ranges(kafka, ranges[::-1], 20)
    places = [(0, 4), (0, 5), (0, 8), (0, 9), (1, 9), (2, 0), (2, 1), (2, 2)]
    assert list(zip(records.partitions, records.offsets, strict=True)) == places
    assert list(records.values) == [f"value {partition}-{offset}".encode() for partition, offset in places]
    assert list(records.keys) == [f"k{partition}-{offset}".encode() for partition, offset in places]
    assert records.digest == read_ranges(kafka, ranges, 20).digest
    assert records.digest != read_ranges(kafka, ranges[1:], 20).digest


def test_fetch_sizes_change_nothing(
    kafka: KafkaSettings, topic: str, write: Write, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    write(*[(b"k", bytes([number % 256]) * 3000) for number in range(500)])
    ranges, size = parse_ranges(f"{topic}:0:3:497"), RecordSize(3000, 1)
    whole = read_ranges(kafka, ranges, 20, size)
    module = confluent if library == "confluent" else consumers
    for fetched, polled in ((300_000, 7), (600_000, 33)):
        monkeypatch.setattr(client, "FETCH_BYTES", fetched)
        monkeypatch.setattr(confluent, "FETCH_BYTES", fetched)
        monkeypatch.setattr(module, "BATCH_RECORDS", polled)
        assert read_ranges(kafka, ranges, 20, size).digest == whole.digest


def test_parts_are_read_in_any_order(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*numbered(300))
    write(*numbered(10, "b"), partition=1)
    clients = KeptClients()
    for text in ("0:200:300", "0:0:10", "0:10:20", "0:20:90", "1:2:4", "0:90:100", "0:50:60"):
        part = parse_ranges(f"{topic}:{text}")
        records = read_part(kafka, part, 20, None, clients)
        assert records.digest == read_ranges(kafka, part, 20).digest
    clients.close()


def test_a_larger_record_is_named_after_those_before_it(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*[(b"k", bytes(9))] * 5, (b"k", bytes(10)))
    write((b"kk", bytes(9)))
    for text, what in (("0:0:7", "0:5: its value has 10 bytes"), ("0:6:7", "0:6: its key has 2 bytes")):
        with pytest.raises(RecordError, match=f"record {topic}:{what}, and at most"):
            read_ranges(kafka, parse_ranges(f"{topic}:{text}"), 20, RecordSize(9, 1))
    assert len(read_ranges(kafka, parse_ranges(f"{topic}:0:0:5"), 20, RecordSize(9, 1))) == 5


def test_compressed_batches_start_and_end_inside(kafka: KafkaSettings, topic: str, write: Write) -> None:
    with KafkaProducer(**kafka.client_args(), compression_type="gzip", linger_ms=50) as producer:
        for key, value in numbered(50):
            producer.send(topic, key=key, value=value, partition=0)
    assert list(read_ranges(kafka, parse_ranges(f"{topic}:0:7:42"), 20).values) == [
        value for _, value in numbered(50)[7:42]
    ]


def test_a_slice_of_many_fetches_is_whole(
    kafka: KafkaSettings, topic: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FETCH_BYTES", 10_000)
    samples = np.random.default_rng(0).integers(0, 255, (300, 500), dtype=np.uint8)
    write(*[(b"\1", sample.tobytes()) for sample in samples])
    codec = get_codec(
        StreamFormat("RAW", {"data_type": "uint8", "label_type": "uint8", "data_reshape": "500", "label_reshape": "1"})
    )
    got, _ = codec.decode_records(read_ranges(kafka, parse_ranges(f"{topic}:0:0:300"), 20))
    np.testing.assert_array_equal(got, samples)


def test_a_topic_that_does_not_exist_is_named_and_not_made(kafka: KafkaSettings, topic: str) -> None:
    ranges = parse_ranges(f"{topic}:0:0:5")
    for ask in (
        lambda: topic_bounds(kafka, topic),
        lambda: check_retention(kafka, ranges),
        lambda: wait_for_data(kafka, ranges, 5),
        lambda: read_ranges(kafka, ranges, 5),
    ):
        with pytest.raises(TopicError, match=topic):
            ask()
    assert read_announcements(kafka, topic, 5) == []
    with admin(kafka) as asked:
        assert topic not in asked.list_topics()


def test_a_partition_that_does_not_exist_is_named(kafka: KafkaSettings, topic: str, write: Write) -> None:
    with pytest.raises(TopicError, match="no partition 7"):
        check_retention(kafka, parse_ranges(f"{topic}:7:0:5"))


def test_a_topic_deleted_while_it_is_read_ends_the_read(
    kafka: KafkaSettings, topic: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STALL_S", 0.2)
    write(*numbered(3))

    def delete() -> None:
        with admin(kafka) as asked:
            asked.delete_topics([topic])

    timer = threading.Timer(0.7, delete)
    timer.start()
    # The consumer's own metadata request may make it anew, empty, where brokers create topics on demand.
    with pytest.raises((TopicError, RetentionError), match=topic):
        read_ranges(kafka, parse_ranges(f"{topic}:0:0:5"), 20)
    timer.join()


def test_records_no_longer_kept_are_named(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*numbered(10))
    with admin(kafka) as asked:
        asked.delete_records({TopicPartition(topic, 0): 4})
    assert topic_bounds(kafka, topic)[0] == (4, 10)
    ranges = parse_ranges(f"{topic}:0:2:10")
    for ask in (
        lambda: check_retention(kafka, ranges),
        lambda: wait_for_data(kafka, ranges, 5),
        lambda: read_ranges(kafka, ranges, 5),
    ):
        with pytest.raises(RetentionError, match=f"{topic}:0:2 to 3 are no longer kept .*first one left is 4"):
            ask()
    check_retention(kafka, parse_ranges(f"{topic}:0:4:10"))


@pytest.mark.parametrize(("record", "what"), [((b"k", None), "no value"), ((None, b"v"), "no key")])
def test_a_record_without_key_or_value_is_named(
    kafka: KafkaSettings, topic: str, write: Write, record: tuple[Any, Any], what: str
) -> None:
    write(*numbered(2), partition=0)
    write(*numbered(4), record, *numbered(2), partition=1)
    with pytest.raises(RecordError, match=f"record {topic}:1:4 has {what}"):
        read_ranges(kafka, parse_ranges(f"{topic}:0:0:2,{topic}:1:1:7"), 20)


def test_a_record_of_the_wrong_size_is_named(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*[(b"\1", bytes(4))] * 2, partition=0)
    write((b"\1", bytes(4)), (b"\1", bytes(5)), partition=2)
    codec = get_codec(
        StreamFormat("RAW", {"data_type": "uint8", "label_type": "uint8", "data_reshape": "2 2", "label_reshape": "1"})
    )
    with pytest.raises(RecordError, match=f"record {topic}:2:1: its value has 5 bytes, expected 4"):
        codec.decode_records(read_ranges(kafka, parse_ranges(f"{topic}:0:0:2,{topic}:2:0:2"), 20))


def test_missing_records_are_counted_at_the_deadline(kafka: KafkaSettings, topic: str, write: Write) -> None:
    write(*numbered(3))
    write(*numbered(2), partition=1)
    ranges = parse_ranges(f"{topic}:0:0:6,{topic}:1:0:2")
    with pytest.raises(DeadlineError, match=r"5 of 8 announced records arrived in 0\.1 s"):
        wait_for_data(kafka, ranges, 0.1)
    with pytest.raises(DeadlineError, match=r"3 of 6 records of .* could be read in time"):
        read_ranges(kafka, ranges, 0.5)


def test_a_range_that_begins_after_the_end_is_missing_as_a_whole(
    kafka: KafkaSettings, topic: str, write: Write
) -> None:
    write(*numbered(3))
    with pytest.raises(DeadlineError, match="0 of 4 announced"):
        wait_for_data(kafka, [OffsetRange(topic, 0, 10, 14)], 0)


def test_waiting_ends_when_the_last_record_arrives(
    kafka: KafkaSettings, topic: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "POLL_S", 0.05)
    write(*numbered(3))
    timer = threading.Timer(0.3, write, numbered(2))
    timer.start()
    wait_for_data(kafka, parse_ranges(f"{topic}:0:0:5"), 20)
    assert topic_bounds(kafka, topic)[0] == (0, 5)
    timer.join()


def test_control_messages_of_all_partitions_come_oldest_first(kafka: KafkaSettings, topic: str, write: Write) -> None:
    with KafkaProducer(**kafka.client_args()) as producer:
        for stamp, partition in ((1000, 2), (3000, 0), (2000, 1), (2500, 0), (5000, 2)):
            producer.send(topic, key=b"\0", value=str(stamp).encode(), partition=partition, timestamp_ms=stamp)
            producer.flush(20)
        producer.send(topic, key=b"\0", value=None, partition=1, timestamp_ms=9000).get(20)
    heard = read_announcements(kafka, topic, 20)
    # 2500 lies behind 3000 in its partition, whatever its clock said.
    assert heard == [(2, 0, b"1000"), (1, 0, b"2000"), (0, 0, b"3000"), (0, 1, b"2500"), (2, 1, b"5000"), (1, 1, b"")]


def test_a_control_topic_whose_first_messages_have_expired_is_read_from_the_first_one_left(
    kafka: KafkaSettings, topic: str, write: Write
) -> None:
    write(*numbered(5))
    with admin(kafka) as asked:
        asked.delete_records({TopicPartition(topic, 0): 3})
    assert [offset for _, offset, _ in read_announcements(kafka, topic, 20)] == [3, 4]


def test_an_absent_broker_is_named(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 0.5)
    nowhere = KafkaSettings("127.0.0.1:9")
    for ask in (lambda: topic_bounds(nowhere, topic), lambda: read_announcements(nowhere, topic, 5)):
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9 .*check KAFKA_BOOTSTRAP_SERVERS"):
            ask()


@pytest.mark.parametrize("servers", ["localhost:port", "", ":::"])
def test_an_address_that_is_none_is_refused(servers: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 0.5)
    with pytest.raises((SettingsError, BrokerError)):
        topic_bounds(KafkaSettings(servers), topic)


def test_a_missing_certificate_is_named(kafka: KafkaSettings, topic: str) -> None:
    with pytest.raises(SettingsError, match=r"KAFKA_CA_FILE is '/nowhere/ca\.pem'"):
        topic_bounds(KafkaSettings(kafka.bootstrap_servers, "SSL", ca_file="/nowhere/ca.pem"), topic)


LEFT_OPEN = """
import sys
import numpy as np
from fedstream.record.offsets import OffsetRange
from fedstream.stream.broker import EnvironmentBrokers
from fedstream.stream.send import send_dataset
broker, topic = EnvironmentBrokers().at(""), sys.argv[1]
send_dataset(broker, topic, "left-open", np.zeros((3, 2), np.uint8), np.zeros(3, np.uint8))
print(len(broker.read_ranges([OffsetRange(topic, 0, 0, 3)], 10)))
broker.itself = broker  # so that it lives until the interpreter ends
"""


def test_a_process_ends_though_it_left_its_brokers_open(platform_env, topic):
    done = subprocess.run([sys.executable, "-c", LEFT_OPEN, topic], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
