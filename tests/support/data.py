"""Small data for whole runs."""

import uuid

import numpy as np

from fedstream.settings import KafkaSettings
from fedstream.stream.send import send_dataset
from fedstream.stream.writer import RecordWriter


def blobs(seed: int, records: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return digits-shaped records that are easily told apart, and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, records).astype(np.uint8)
    x = rng.uniform(0, 4, (records, 8, 8)).astype(np.float32)
    x[np.arange(records), y % 8, y // 8] += 12
    return x, y


def send_clients(kafka: KafkaSettings, owners: tuple[str, ...] = ("a", "b")) -> list[str]:
    """Let small clients announce 60 records each, and return their names, which are new."""
    names = [f"{owner}-{uuid.uuid4().hex[:6]}" for owner in owners]
    for seed, name in enumerate(names):
        send_dataset(kafka, name, name, *blobs(seed))
    return names


def write_one(kafka: KafkaSettings, topic: str, value: bytes = b"value") -> None:
    """Write one record, or fail as the broker does."""
    sender = RecordWriter(kafka)
    try:
        sender.write(topic, value, b"key")
        sender.flush()
    finally:
        sender.close()
