"""What happens to a topic between its announcement and a read: transactions, retention, compaction, null values,
poison records, more partitions, other leaders, clocks that go back, and every way to compress.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka import codec as compression
from kafka.admin import NewTopic
from support.data import write_one
from support.secured import SecuredKafka

from fedstream.audit.streams import Streams
from fedstream.audit.verify import verify_run
from fedstream.errors import DeadlineError, RecordError, RetentionError
from fedstream.local.inprocess import run_inprocess
from fedstream.record.documents import SliceRange
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import OffsetRange, parse_ranges
from fedstream.settings import KafkaSettings
from fedstream.steps.context import Context
from fedstream.store.memory import MemoryStore
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.client import admin
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.reader import read_ranges, topic_bounds, wait_for_data
from fedstream.stream.records import RecordSize
from fedstream.stream.send import create_topic
from fedstream.stream.sink import announcement_of

Transact = Callable[..., None]
SIZE = RecordSize(value=8, key=8)


@pytest.fixture
def transact(kafka: KafkaSettings, topic: str) -> Iterator[Transact]:
    """Write records to the topic in a transaction that is committed, or aborted."""
    create_topic(kafka, topic, 1)
    with KafkaProducer(**kafka.client_args(), transactional_id=f"tx-{topic}") as producer:
        producer.init_transactions()

        def transact(*values: bytes, end: str = "commit") -> None:
            producer.begin_transaction()
            for value in values:
                producer.send(topic, key=b"k", value=value, partition=0)
            producer.flush(20)
            if end:
                getattr(producer, f"{end}_transaction")()

        yield transact


def test_markers_and_aborted_records_are_gaps_and_not_records(
    kafka: KafkaSettings, topic: str, transact: Transact
) -> None:
    transact(b"0", b"1")  # its marker is 2
    transact(b"3", b"4", end="abort")  # its marker is 5
    transact(b"6")  # its marker is 7
    assert topic_bounds(kafka, topic) == {0: (0, 8)}

    records = read_ranges(kafka, parse_ranges(f"{topic}:0:0:8"), 20)

    assert list(records.values) == [b"0", b"1", b"6"]
    assert list(records.offsets) == [0, 1, 6]
    assert records.ranges == parse_ranges(f"{topic}:0:0:2,{topic}:0:6:7")
    assert records.gaps == parse_ranges(f"{topic}:0:2:6,{topic}:0:7:8")
    assert len(records) == 3


@pytest.mark.parametrize("end", [2, 3, 4, 5, 6])
def test_a_range_can_end_and_begin_within_a_gap(kafka: KafkaSettings, topic: str, transact: Transact, end: int) -> None:
    transact(b"0", b"1")
    transact(b"3", b"4", end="abort")
    transact(b"6")
    before, after = (read_ranges(kafka, parse_ranges(f"{topic}:0:{part}"), 20) for part in (f"0:{end}", f"{end}:7"))
    assert list(before.values) == [b"0", b"1"]
    assert list(after.values) == [b"6"]


def test_offsets_of_aborted_records_alone_are_refused(kafka: KafkaSettings, topic: str, transact: Transact) -> None:
    transact(b"0", b"1", end="abort")
    with pytest.raises(RecordError, match=rf"{topic}:0:0:3 contain no record that can be used; announce offsets of"):
        read_ranges(kafka, parse_ranges(f"{topic}:0:0:3"), 20)


def test_an_open_transaction_is_waited_for(kafka: KafkaSettings, topic: str, transact: Transact) -> None:
    transact(b"0", end="")
    ranges = parse_ranges(f"{topic}:0:0:1")
    with pytest.raises(DeadlineError, match="0 of 1 announced records arrived"):
        wait_for_data(kafka, ranges, 0.2)
    with pytest.raises(DeadlineError, match=r"0 of 1 records of .* could be read in time"):
        read_ranges(kafka, ranges, 0.5)


def test_clocks_that_go_back_change_nothing(kafka: KafkaSettings, topic: str) -> None:
    create_topic(kafka, topic, 1)
    with KafkaProducer(**kafka.client_args()) as producer:
        for number, stamp in enumerate((5000, 1000, 4000, 2000)):
            producer.send(topic, key=b"k", value=bytes([number]), partition=0, timestamp_ms=stamp)
    assert list(read_ranges(kafka, parse_ranges(f"{topic}:0:0:4"), 20).values) == [b"\0", b"\1", b"\2", b"\3"]


def test_a_partition_added_after_the_announcement_changes_nothing(kafka: KafkaSettings, topic: str) -> None:
    create_topic(kafka, topic, 1)
    with KafkaProducer(**kafka.client_args()) as producer:
        for number in range(3):
            producer.send(topic, key=b"k", value=bytes([number]), partition=0)
    ranges = parse_ranges(f"{topic}:0:0:3")
    before = read_ranges(kafka, ranges, 20)
    with admin(kafka) as asked:
        asked.create_partitions({topic: 3})
    with KafkaProducer(**kafka.client_args()) as producer:
        producer.send(topic, key=b"k", value=b"new", partition=2)
    assert read_ranges(kafka, ranges, 20).digest == before.digest


@pytest.mark.parametrize("name", ["gzip", "snappy", "lz4", "zstd"])
def test_every_way_to_compress_is_read(kafka: KafkaSettings, topic: str, name: str) -> None:
    with KafkaProducer(**kafka.client_args(), compression_type=name, linger_ms=50) as producer:
        for number in range(50):
            producer.send(topic, key=b"k", value=bytes([number]) * 100)
    values = list(read_ranges(kafka, parse_ranges(f"{topic}:0:3:50"), 20).values)
    assert values == [bytes([number]) * 100 for number in range(3, 50)]


@pytest.mark.parametrize(("name", "package"), [("snappy", "python-snappy"), ("lz4", "lz4"), ("zstd", "zstandard")])
def test_a_missing_library_of_compression_is_one_line(
    kafka: KafkaSettings, topic: str, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KafkaProducer(**kafka.client_args(), compression_type=name) as producer:
        producer.send(topic, key=b"k", value=bytes(100))
    monkeypatch.setattr(compression, f"has_{name}", lambda: False)
    with pytest.raises(
        RecordError,
        match=f"{topic}:0: its records are compressed with {name}, and the Python package {package} is not installed; "
        f"run `pip install {package}` where the steps run",
    ):
        read_ranges(kafka, parse_ranges(f"{topic}:0:0:1"), 20)


def test_what_cannot_be_used_is_skipped_up_to_a_number(kafka: KafkaSettings, topic: str) -> None:
    create_topic(kafka, topic, 1)
    sent = [(b"k", b"0"), (b"k", None), (None, b"2"), (b"k", b"3"), (b"k", bytes(9)), (b"k", b"5")]
    with KafkaProducer(**kafka.client_args()) as producer:
        for key, value in sent:
            producer.send(topic, key=key, value=value, partition=0)
    ranges = parse_ranges(f"{topic}:0:0:6")
    records = read_ranges(kafka, ranges, 20, SIZE, skip=3)
    assert list(records.values) == [b"0", b"3", b"5"]
    assert records.ranges == parse_ranges(f"{topic}:0:0:1,{topic}:0:3:4,{topic}:0:5:6")
    assert records.skipped == parse_ranges(f"{topic}:0:1:3,{topic}:0:4:5")
    with pytest.raises(RecordError, match=f"record {topic}:0:4 is larger than announced; more than 2 records cannot"):
        read_ranges(kafka, ranges, 20, SIZE, skip=2)
    with pytest.raises(RecordError, match=f"record {topic}:0:1 has no value"):
        read_ranges(kafka, ranges, 20, SIZE)


def test_compaction_that_took_part_of_a_range_is_named(secured_kafka: SecuredKafka, topic: str) -> None:
    settings = secured_kafka.admin
    configs = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"}
    with KafkaAdminClient(**settings.client_args()) as asked:
        asked.create_topics([NewTopic(topic, 1, 1, topic_configs=configs | {"delete.retention.ms": "0"})])
    with KafkaProducer(**settings.client_args()) as producer:
        for number in range(6):
            producer.send(topic, key=b"same" if number in (2, 4) else bytes([number]), value=b"v").get(20)
        end = time.monotonic() + 60
        while True:  # the cleaner leaves the newest segment alone, so something has to follow
            producer.send(topic, key=b"later", value=b"v").get(20)
            time.sleep(0.3)
            try:
                read_ranges(settings, parse_ranges(f"{topic}:0:0:6"), 20)
            except RetentionError as error:
                said = str(error)
                break
            assert time.monotonic() < end
    assert (
        f"record {topic}:0:2 of the announced range {topic}:0:0:6 is not in the topic (retention or compaction" in said
    )
    assert len(read_ranges(settings, parse_ranges(f"{topic}:0:3:6"), 20)) == 3


def test_retention_in_the_middle_of_a_read_is_named(kafka: KafkaSettings, topic: str, transact: Transact) -> None:
    transact(b"0", b"1")
    transact(b"3", b"4", end="")  # open, so that the read waits here
    with ThreadPoolExecutor() as pool, admin(kafka) as asked:
        reading = pool.submit(read_ranges, kafka, parse_ranges(f"{topic}:0:0:5"), 30)
        assert not wait([reading], timeout=2).done
        asked.delete_records({TopicPartition(topic, 0): 5})
        with pytest.raises(
            RetentionError, match=rf"record {topic}:0:3 of the announced range .*retention or compaction"
        ):
            reading.result(60)


class Run:
    """A run of two clients on a real broker, with a store in memory."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.context = replace(Context.in_memory(), store=MemoryStore(), brokers=KafkaBrokers(kafka))

    def spec(self, topic: str, **fields: Any) -> dict[str, Any]:
        spec = {"run": "r", "model": "builtin:numpy-softmax", "clients": [topic, f"{topic}-b"], "rounds": 2}
        return spec | {"batch_size": 10} | fields


def send(kafka: KafkaSettings, topic: str, client: str, poison: int = 0, transactions: bool = False) -> None:
    """Announce 40 pictures as they are in the topic, with some records that are none among them."""
    codec = RawCodec(np.dtype(np.uint8), (8, 8), np.dtype(np.uint8), ())
    rng = np.random.default_rng(len(client))
    create_topic(kafka, client, 1)
    args = {"transactional_id": f"tx-{client}"} if transactions else {}
    with KafkaProducer(**kafka.client_args(), **args) as producer:
        if transactions:
            producer.init_transactions()
        for part in range(4):
            if transactions:
                producer.begin_transaction()
            for number in range(10):
                label = rng.integers(0, 10, dtype=np.uint8)
                value, key = codec.encode(rng.integers(0, 16, (8, 8), dtype=np.uint8), label)
                bad = number == 5 and part < poison
                producer.send(
                    client, key=key, value=(None, b"short", bytes(99))[part % 3] if bad else value, partition=0
                )
            if transactions:
                (producer.abort_transaction if part == 1 else producer.commit_transaction)()
    ranges = [OffsetRange(client, 0, 0, topic_bounds(kafka, client)[0][1])]
    announcement = announcement_of(kafka, client, StreamFormat("RAW", codec.config()), ranges)
    write_one(kafka, DATA_CONTROL_TOPIC, announcement.to_bytes())


def test_a_run_skips_poison_records_names_them_and_is_verified(kafka: KafkaSettings, topic: str) -> None:
    send(kafka, topic, topic, poison=3)
    send(kafka, topic, f"{topic}-b")
    run = Run(kafka)
    run_inprocess(run.spec(topic, max_skipped=3), context=run.context)
    state = run.context.run("r")
    document = state.slice(1, topic)
    assert document.records == 37
    skipped = [SliceRange(topic=topic, partition=0, start=at, end=at + 1) for at in (5, 15, 25)]
    assert document.skipped == skipped
    assert document.fed == parse_ranges(f"{topic}:0:0:40")
    assert "skipped" not in state.store.get(state.keys.at(1).slice(f"{topic}-b")).decode()
    assert verify_run(run.context.store, "r", brokers=KafkaBrokers(kafka)).problems == []

    others = [replaced(skipped[0], 6), *skipped[1:]]
    pieces = [(0, 6), (7, 15), (16, 25), (26, 40)]
    cherry_picked = document.model_copy(
        update={"skipped": others, "ranges": [replaced(skipped[0], *piece) for piece in pieces]}
    )
    streams = Streams(state, KafkaBrokers(kafka), 20)
    assert streams.check_slice(1, topic, document) == ""
    assert re.search(
        f"its ranges are {topic}:0:0:6, .*, but reading again gives {topic}:0:0:5, ",
        streams.check_slice(1, topic, cherry_picked),
    )


def replaced(part: SliceRange, start: int, end: int = 0) -> SliceRange:
    return part.model_copy(update={"start": start, "end": end or start + 1})


def test_one_poison_record_too_many_is_a_refusal_that_names_it(kafka: KafkaSettings, topic: str) -> None:
    send(kafka, topic, topic, poison=3)
    send(kafka, topic, f"{topic}-b")
    for most, said in ((2, "more than 2 records cannot be used"), (0, f"record {topic}:0:5 has no value")):
        run = Run(kafka)
        run_inprocess(run.spec(topic, max_skipped=most, min_clients=1, rounds=1), context=run.context)
        listed = [info.key for info in run.context.store.list("runs/r/rounds/0001/") if "/refusals/" in info.key]
        assert any(said in run.context.store.get(key).decode() for key in listed), listed


def test_a_run_on_transactions_counts_records_and_is_verified(kafka: KafkaSettings, topic: str) -> None:
    send(kafka, topic, topic, transactions=True)
    send(kafka, topic, f"{topic}-b")
    run = Run(kafka)
    run_inprocess(run.spec(topic), context=run.context)
    document = run.context.run("r").slice(1, topic)
    assert (document.records, len(document.gaps)) == (30, 3)
    assert verify_run(run.context.store, "r", brokers=KafkaBrokers(kafka)).problems == []
