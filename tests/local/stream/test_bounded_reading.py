"""What others send costs a reader no more memory than they announced, whatever it inflates to.

Measured in a process of its own.
"""

import subprocess
import sys
import textwrap

import pytest
from kafka import KafkaProducer, codec

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.offsets import parse_ranges
from fedstream.stream import control, limits, reader
from fedstream.stream.announcement import MESSAGE_BYTES, parse_data_announcement
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import read_ranges
from fedstream.stream.records import RecordSize
from fedstream.stream.send import create_topic

MIB = 1024 * 1024
BOUND_MIB = 256
"""MiB that reading takes at most besides the slice: a fetch of 8, a batch of 64 inflated, copied and cut into records,
and kafka-python itself.
"""


@pytest.fixture
def gzipped(kafka, topic):
    """Send records to the test's topic, each a batch of its own, compressed."""
    create_topic(kafka, topic, 1)
    producer = KafkaProducer(
        **kafka.client_args(), compression_type="gzip", max_request_size=256 * MIB, linger_ms=0, batch_size=0
    )

    def send(count, value, key=b"0", headers=()):
        for _ in range(count):
            producer.send(topic, key=key, value=value, headers=list(headers), partition=0)
        producer.flush(60)

    yield send
    producer.close(5)


def growth_mib(kafka, ranges, size):
    """Return by how many MiB a process grows that reads the ranges, and what it says."""
    code = f"""
        import resource
        from fedstream.errors import FedstreamError
        from fedstream.settings import KafkaSettings
        from fedstream.record.offsets import parse_ranges
        from fedstream.stream.reader import check_retention, read_ranges
        from fedstream.stream.records import RecordSize

        kafka, ranges = KafkaSettings({kafka.bootstrap_servers!r}), parse_ranges({ranges!r})
        check_retention(kafka, ranges)
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        before, said = peak(), "read"
        try:
            read_ranges(kafka, ranges, 120, RecordSize(*{size!r}))
        except FedstreamError as error:
            said = str(error)
        print(peak() - before, said)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    grown, _, said = done.stdout.strip().partition(" ")
    return int(grown), said


def test_records_larger_than_announced_are_refused_at_once(kafka, topic, gzipped):
    gzipped(3, bytes(512))
    gzipped(120, bytes(4 * MIB))  # half a MiB in the broker, half a GiB inflated
    grown, said = growth_mib(kafka, f"{topic}:0:0:123", (512, 1))
    assert (
        said == f"record {topic}:0:3: its value has 4,194,304 bytes, and at most 512 are announced; "
        "send it again as announced"
    )
    assert grown < BOUND_MIB, grown


def test_keys_and_headers_are_bounded_too(kafka, topic, gzipped):
    gzipped(1, bytes(512), key=bytes(MIB))
    _, said = growth_mib(kafka, f"{topic}:0:0:1", (512, 1))
    assert "its key has 1,048,576 bytes, and at most 1 are announced" in said
    gzipped(120, bytes(512), headers=[("trace", bytes(4 * MIB))])
    grown, said = growth_mib(kafka, f"{topic}:0:1:121", (512, 1))
    assert said == "read"
    assert grown < BOUND_MIB, grown


def test_a_batch_that_inflates_without_end_is_refused(kafka, topic, gzipped):
    gzipped(1, bytes(200 * MIB))
    grown, said = growth_mib(kafka, f"{topic}:0:0:1", (512, 1))
    assert said.startswith(
        f"{topic}:0: records 0 to 0 are one batch that inflates to more than 67,108,864 bytes; "
        "send them in smaller batches"
    )
    assert grown < BOUND_MIB, grown


def test_a_slice_is_refused_before_it_is_read_if_a_step_cannot_hold_it(kafka, topic, gzipped, monkeypatch):
    gzipped(2, bytes(512))
    ranges = parse_ranges(f"{topic}:0:0:2")
    said = r"have at least 1,02\d bytes, and a step holds 1,000 .*announce them in parts, or set FEDSTREAM_SLICE_GIB"
    assert len(read_ranges(kafka, ranges, 20, RecordSize(512, 1, least=513))) == 2
    monkeypatch.setattr(reader, "slice_bytes", lambda: 1000)
    for size in (RecordSize(512, 1, least=513), None):
        with pytest.raises(RecordError, match=said):
            read_ranges(kafka, ranges, 20, size)
    with pytest.raises(RecordError, match=said):
        read_ranges(kafka.at("nowhere:1"), ranges, 20, RecordSize(512, 1, least=513))


def test_a_flooded_control_topic_costs_neither_memory_nor_the_newest_announcement(kafka, topic, gzipped, monkeypatch):
    monkeypatch.setattr(control, "CONTROL_MESSAGES", 300)
    gzipped(200, b'{"old": 1}')
    gzipped(1, bytes(2 * limits.BATCH_BYTES))
    gzipped(1, b"x" * (MESSAGE_BYTES + 7))
    gzipped(250, b'{"flood": 1}')
    gzipped(1, b'{"topic": "t:0:0:1", "input_format": "RAW", "input_config": {}, "client": "a"}')
    heard = read_announcements(kafka, topic, 60)
    assert [offset for _, offset, _ in heard] == list(range(153, 453))
    assert parse_data_announcement(heard[-1][2]).client == "a"
    large = {offset: data for _, offset, data in heard if len(data) > MESSAGE_BYTES}
    assert set(large) == {200, 201}
    for data in large.values():
        assert len(data) == MESSAGE_BYTES + 1
        with pytest.raises(AnnouncementError, match="more than 131,072 bytes"):
            parse_data_announcement(data)
    monkeypatch.setattr(control, "CONTROL_BYTES", 1_000)
    newest = read_announcements(kafka, topic, 60)
    assert heard[-len(newest) :] == newest
    assert 0 < sum(len(data) for _, _, data in newest) <= 1_000


@pytest.mark.parametrize("name", limits.INFLATE)
def test_a_batch_that_is_none_is_an_error_of_the_broker_s(name):
    with pytest.raises(limits.CorruptRecordError, match=f"not valid {name}"):
        limits.INFLATE[name](b"nothing of the kind")


@pytest.mark.parametrize("name", limits.INFLATE)
def test_no_way_of_compressing_inflates_without_bound(name, monkeypatch):
    limits.bound_inflation()
    packed = getattr(codec, f"{name}_encode")(bytes(100_000))
    assert limits.INFLATE[name](packed) == bytes(100_000)
    monkeypatch.setattr(limits, "BATCH_BYTES", 99_999)
    with pytest.raises(limits._TooLarge):
        limits.INFLATE[name](packed)
