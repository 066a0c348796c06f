"""Measure how fast a RAW slice becomes numpy arrays, compared with the minimum that kafka-python can do.

    python benchmarks/read_slice.py [RECORDS]

The minimum is a poll loop that only counts records, with the default fetch sizes (bare) and with ours (same). The
benchmark uses KAFKA_BOOTSTRAP_SERVERS or starts the embedded Kafka. All loops read the same topic in turns, in one
process; compare the ratios, not the rates. The last one reads with confluent-kafka, if it is installed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from fedstream.cli.output import print_table
from fedstream.local.platform import Platform
from fedstream.settings import KAFKA_CLIENTS, KafkaSettings
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.client import FETCH_BYTES
from fedstream.stream.codec import get_codec
from fedstream.stream.consumers import BATCH_RECORDS
from fedstream.stream.reader import read_ranges
from fedstream.stream.send import create_topic, send_dataset

TURNS = 5
SHAPES = {
    "MNIST, 784 B": ((28, 28), "uint8"),
    "digits, 256 B": ((8, 8), "float32"),
    "CIFAR, 3 KiB": ((32, 32, 3), "uint8"),
}


def bare_poll_loop(kafka: KafkaSettings, said: DataAnnouncement, **options: int) -> int:
    """Read the announced records and only count them."""
    consumer = KafkaConsumer(**kafka.client_args(), enable_auto_commit=False, auto_offset_reset="none", **options)
    count = 0
    for wanted in said.ranges:
        partition = TopicPartition(wanted.topic, wanted.partition)
        consumer.assign([partition])
        consumer.seek(partition, wanted.start)
        left = wanted.records
        while left > 0:
            polled = sum(map(len, consumer.poll(timeout_ms=1000).values()))
            left, count = left - polled, count + polled
    consumer.close()
    return count


def our_reader(kafka: KafkaSettings, said: DataAnnouncement, library: str) -> int:
    """Read, check and decode the announced records, including their digest."""
    os.environ["FEDSTREAM_KAFKA_CLIENT"] = library
    codec = get_codec(said.format)
    records = read_ranges(kafka, said.ranges, 300, codec.record_size)
    samples, _ = codec.decode_records(records)
    return len(samples) if records.digest else 0


def rates(read: Callable[[], int], expected: int) -> tuple[float, float]:
    """Return the records per second of one turn, and per second of processor time."""
    began, busy = time.perf_counter(), time.process_time()
    count = read()
    assert count >= expected, (count, expected)
    return expected / (time.perf_counter() - began), expected / (time.process_time() - busy)


def measure(kafka: KafkaSettings, name: str, records: int, partitions: int) -> list[object]:
    shape, dtype = SHAPES[name]
    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    create_topic(kafka, topic, partitions)
    samples = np.random.default_rng(0).integers(0, 255, (records, *shape)).astype(dtype)
    said = send_dataset(kafka, topic, topic, samples, np.arange(records, dtype=np.uint8))
    readers: dict[str, Callable[[], int]] = {
        "bare": lambda: bare_poll_loop(kafka, said),
        "same": lambda: bare_poll_loop(
            kafka,
            said,
            max_poll_records=BATCH_RECORDS,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES * 4,
        ),
        "ours": lambda: our_reader(kafka, said, KAFKA_CLIENTS[0]),
    }
    if find_spec("confluent_kafka"):
        readers["confluent"] = lambda: our_reader(kafka, said, KAFKA_CLIENTS[1])
    turns = [{reader: rates(read, records) for reader, read in readers.items()} for _ in range(TURNS)]
    best = {reader: [max(turn[reader][kind] for turn in turns) for kind in (0, 1)] for reader in readers}
    ours = best["ours"]
    against = [f"{best['ours'][kind] / best['same'][kind]:.0%}" for kind in (0, 1)]
    faster = [f"{best['confluent'][kind] / ours[kind]:.1f}" if "confluent" in best else "" for kind in (0, 1)]
    fastest = [int(best[reader][0]) for reader in ("bare", "same", "ours", "confluent") if reader in best]
    return [name, partitions, *fastest, *against, *faster]


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder)) as platform:
        rows = [measure(platform.kafka_settings, name, records, partitions) for name in SHAPES for partitions in (1, 4)]
    columns = ["stream", "partitions", "bare/s", "same/s", "ours/s", "confluent/s", "ours:same", "in CPU time"]
    columns += ["confluent:ours", "in CPU time"]
    print_table(f"{records:,} RAW records into numpy, records per second, best of {TURNS} turns", columns, rows)


if __name__ == "__main__":
    main()
