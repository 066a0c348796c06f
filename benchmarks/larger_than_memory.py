"""Measure training on a slice that is larger than memory, and an epoch of a stream beside one in memory.

    python -m benchmarks.larger_than_memory [GIB]

Pictures of 12 KiB are sent to one topic. A process of its own trains on all of them, from the slice to the published
model, and says how much memory it took. Another process trains on their first 256 MiB, in memory and streamed, in
turns. The benchmark uses KAFKA_BOOTSTRAP_SERVERS or starts the embedded Kafka.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fedstream.catalog.models import add_model
from fedstream.cli.output import print_table
from fedstream.local.inprocess import run_inprocess
from fedstream.local.platform import Platform
from fedstream.model._tensorflow import keras
from fedstream.model.files import save_keras
from fedstream.model.progress import Progress
from fedstream.record.format import RAW, StreamFormat
from fedstream.record.offsets import OffsetRange
from fedstream.settings import KafkaSettings
from fedstream.steps.context import Context
from fedstream.store.memory import MemoryStore
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.broker import EnvironmentBrokers, KafkaBroker
from fedstream.stream.codec import CODECS
from fedstream.stream.records import UNLABELLED
from fedstream.stream.send import create_topic
from fedstream.stream.sink import announcement_of

SHAPE, MIB = (64, 64, 3), 2**20
RECORD = math.prod(SHAPE)
EPOCHS, TURNS, COMPARED_MIB = 3, 3, 256
MODELS = ("small", "cnn")


def send(kafka: KafkaSettings, topic: str, records: int) -> None:
    """Send pictures, and announce all of them as client `all` and the first 256 MiB as client `part`."""
    create_topic(kafka, topic, 1)
    rng, broker = np.random.default_rng(0), KafkaBroker(kafka)
    codec = CODECS[RAW].from_sample(np.zeros(SHAPE, np.uint8), np.zeros((), np.uint8))
    pictures, writer = rng.integers(0, 256, (256, *SHAPE)).astype(np.uint8), broker.writer()
    for number in range(records):
        picture, label = pictures[number % 256], np.uint8(rng.integers(10))
        picture[0, 0] = number % 251, label * 25, number % 241
        writer.write(topic, *codec.encode(picture, label))
    said = {"description": "", "dataset_restrictions": "{}", "validation_rate": 0.1, "test_rate": 0.0}
    said |= {"features": [], "classes": [], "append": False}
    part = [OffsetRange(topic, 0, 0, min(records, COMPARED_MIB * MIB // RECORD))]
    for client, ranges in (("all", writer.flush()), ("part", part)):
        announced = announcement_of(broker, client, StreamFormat(RAW, codec.config()), ranges, **said)
        writer.write(DATA_CONTROL_TOPIC, announced.to_bytes(), UNLABELLED)
    writer.flush()
    writer.close()


def model(name: str) -> bytes:
    """Return a model whose epoch takes seconds, or a convolutional network."""
    layers = keras().layers
    inner = {
        "small": [layers.AveragePooling2D(8), layers.Flatten(), layers.Dense(32, "relu")],
        "cnn": [
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ],
    }[name]
    network = keras().Sequential([keras().Input(SHAPE), layers.Rescaling(1 / 255), *inner, layers.Dense(10, "softmax")])
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return save_keras(network)


def train(client: str, name: str, epochs: int, stream_above_mib: int) -> dict[str, Any]:
    """Train one round, and return the seconds and processor seconds of each epoch but the first."""
    marks: list[tuple[float, float]] = []
    finished = Progress.finished_epoch

    def mark(self: Progress, values: dict[str, float]) -> None:
        finished(self, values)
        marks.append((time.perf_counter(), time.process_time()))

    Progress.finished_epoch = mark  # type: ignore[method-assign]
    context = Context(MemoryStore(), EnvironmentBrokers())
    add_model(context.store, name, model(name))
    began = time.perf_counter()
    values = {"run": "r", "model": name, "clients": [client], "rounds": 1, "epochs": epochs, "batch_size": 64}
    values |= {"stream_above_mib": stream_above_mib, "round_deadline_s": 86_400, "publish": "never"}
    run_inprocess(values, context=context)
    Progress.finished_epoch = finished  # type: ignore[method-assign]
    return {
        "seconds": time.perf_counter() - began,
        "epochs": [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)],
        "digest": context.run("r").ledger.commit(1).weights_digest,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compare(name: str) -> list[object]:
    """Return a row of an epoch in memory beside one of a stream, in turns."""
    epochs: dict[int, list[list[float]]] = {2**22: [], 1: []}
    digests = set()
    for _ in range(TURNS):
        for above, own in epochs.items():
            result = train("part", name, EPOCHS, above)
            own += result["epochs"]
            digests.add(result["digest"])
    assert len(digests) == 1, "a stream trains another model"
    (memory, memory_cpu), (stream, stream_cpu) = (
        [min(each) for each in zip(*own, strict=True)] for own in epochs.values()
    )
    medians = [statistics.median(own[0] for own in each) for each in epochs.values()]
    return [
        name,
        *(f"{s:.2f}" for s in (memory, stream)),
        f"{stream / memory:.2f}",
        f"{medians[1] / medians[0]:.2f}",
        f"{memory_cpu:.2f}",
        f"{stream_cpu:.2f}",
    ]


def in_a_process(*arguments: str) -> Any:
    """Return what this program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.larger_than_memory", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["--whole"]:
        print(json.dumps(train("all", "small", 1, 512)))
        return
    if sys.argv[1:2] == ["--compare"]:
        print(json.dumps(compare(sys.argv[2])))
        return
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder)) as platform:
        os.environ |= platform.env
        send(platform.kafka_settings, f"benchmark-{uuid.uuid4().hex[:8]}", int(gib * 1024 * MIB) // RECORD)
        whole = in_a_process("--whole")
        rows = [in_a_process("--compare", name) for name in MODELS]
    title = f"one epoch of a slice of {gib:g} GiB, from ingest to evaluation"
    print_table(title, ["seconds", "resident MiB"], [[round(whole["seconds"]), round(whole["resident_mib"])]])
    columns = ["model", "memory s", "stream s", "ratio", "ratio of medians", "memory CPU s", "stream CPU s"]
    print_table(f"an epoch of {COMPARED_MIB} MiB, best of {TURNS * (EPOCHS - 1)}", columns, rows)


if __name__ == "__main__":
    main()
