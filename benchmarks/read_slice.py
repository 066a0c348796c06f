"""Measure how fast a RAW slice becomes numpy arrays, compared with the minimum that kafka-python can do.

    python benchmarks/read_slice.py [RECORDS]

The minimum is a poll loop that only counts records, with the default fetch sizes (bare) and with ours (tuned). The
benchmark uses KAFKA_BOOTSTRAP_SERVERS or starts the embedded Kafka. All loops read the same topic in turns, in one
process; compare the ratios, not the rates.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from fedstream.cli.output import print_table
from fedstream.local.platform import Platform
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DataAnnouncement
from fedstream.stream.codec import get_codec
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


def our_reader(kafka: KafkaSettings, said: DataAnnouncement) -> int:
    """Read, check and decode the announced records, including their digest."""
    records = read_ranges(kafka, said.ranges, 300)
    samples, _ = get_codec(said.format).decode_records(records)
    return len(samples) if records.digest else 0


def rate(read: Callable[[], int], expected: int) -> float:
    """Return the records per second of one turn."""
    began = time.perf_counter()
    count = read()
    assert count >= expected, (count, expected)
    return expected / (time.perf_counter() - began)


def measure(kafka: KafkaSettings, name: str, records: int, partitions: int) -> list[object]:
    shape, dtype = SHAPES[name]
    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    create_topic(kafka, topic, partitions)
    samples = np.random.default_rng(0).integers(0, 255, (records, *shape)).astype(dtype)
    said = send_dataset(kafka, topic, topic, samples, np.arange(records, dtype=np.uint8))
    readers: dict[str, Callable[[], int]] = {
        "bare": lambda: bare_poll_loop(kafka, said),
        "tuned": lambda: bare_poll_loop(
            kafka,
            said,
            max_poll_records=10_000,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            fetch_max_bytes=32 * 1024 * 1024,
        ),
        "ours": lambda: our_reader(kafka, said),
    }
    rates: dict[str, list[float]] = {reader: [] for reader in readers}
    for _ in range(TURNS):
        for reader, read in readers.items():
            rates[reader].append(rate(read, records))
    plain, tuned, ours = rates.values()
    ratios = (statistics.median(mine / its for mine, its in zip(ours, own, strict=True)) for own in (plain, tuned))
    return [
        name,
        partitions,
        *(int(statistics.median(own)) for own in rates.values()),
        *(f"{ratio:.0%}" for ratio in ratios),
    ]


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder)) as platform:
        rows = [measure(platform.kafka_settings, name, records, partitions) for name in SHAPES for partitions in (1, 4)]
    columns = ["stream", "partitions", "bare/s", "tuned/s", "ours/s", "ours:bare", "ours:tuned"]
    print_table(f"{records:,} RAW records into numpy, records per second, medians of {TURNS} turns", columns, rows)


if __name__ == "__main__":
    main()
