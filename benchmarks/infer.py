"""Measure the rate of predictions, compared with the loop of Kafka-ML's inference.

    python -m benchmarks.infer [RECORDS]

Kafka-ML predicts one record at a time with `Model.predict`, commits offsets by a timer, and sends predictions without
waiting until they are stored. The benchmark starts the embedded Kafka. Both loops use the same topic of one partition
and the same model; compare the ratios, not the rates.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer

from fedstream.cli.output import print_table
from fedstream.local.platform import Platform
from fedstream.model.builtin import build_builtin
from fedstream.model.prediction import predictor
from fedstream.serving.inference import Inference, Pace, Streams
from fedstream.serving.versions import Served
from fedstream.settings import KafkaSettings
from fedstream.stream.codec.raw import RawCodec
from fedstream.stream.send import create_topic, send_dataset

MODELS = {"builtin:digits-mlp": ((8, 8), np.float32), "builtin:mnist-cnn": ((28, 28), np.uint8)}
BATCHES = (1, 32, 256)


def one_at_a_time(kafka: KafkaSettings, source: str, target: str, served: Served, model: Any, records: int) -> None:
    producer = KafkaProducer(**kafka.client_args())
    consumer = KafkaConsumer(source, **kafka.client_args(), group_id=uuid.uuid4().hex, auto_offset_reset="earliest")
    for count, record in enumerate(consumer, start=1):
        values = model.predict(np.array([served.codec.decode_sample(record.value)]), verbose=0)[0]
        producer.send(target, json.dumps({"values": values.tolist()}).encode())
        if count == records:
            break
    producer.flush()
    producer.close()
    consumer.close()


def ours(kafka: KafkaSettings, source: str, target: str, served: Served, batch_size: int) -> None:
    streams, version = Streams(source, target, "", uuid.uuid4().hex), SimpleNamespace(current=lambda: served)
    Inference(kafka, streams, version, Pace(batch_size, until_end=True), threading.Event()).run()  # type: ignore[arg-type]


def measure(kafka: KafkaSettings, name: str, records: int) -> list[object]:
    shape, dtype = MODELS[name]
    source, target = (f"benchmark-{uuid.uuid4().hex[:8]}" for _ in range(2))
    for topic in (source, target):
        create_topic(kafka, topic, 1)
    samples = np.random.default_rng(0).integers(0, 16, (records, *shape)).astype(dtype)
    send_dataset(kafka, source, source, samples, np.zeros(records, np.uint8))
    model = build_builtin(name)
    model.predict(samples[:1], verbose=0)
    served = Served(name, 1, "", RawCodec.from_sample(samples[0], np.zeros((), np.uint8)), predictor(model))

    def rate(work: Any, *arguments: Any) -> float:
        began = time.perf_counter()
        work(kafka, source, target, served, *arguments)
        return records / (time.perf_counter() - began)

    loop = rate(one_at_a_time, model, records)
    rates = [rate(ours, batch_size) for batch_size in BATCHES]
    return [name, int(loop), *map(int, rates), f"{rates[1] / loop:.0f}"]


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder)) as platform:
        rows = [measure(platform.kafka_settings, name, records) for name in MODELS]
    columns = ["model", "one at a time/s", *(f"batch {size}/s" for size in BATCHES), "batch 32 : one at a time"]
    print_table(f"{records:,} records into predictions, records per second, joining the group included", columns, rows)


if __name__ == "__main__":
    main()
