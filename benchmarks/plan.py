"""Plan a run with many clients, each of which has announced a stream.

python -m benchmarks.plan
"""

from __future__ import annotations

import argparse
import os
import time
import uuid
from dataclasses import replace

from fedstream import steps
from fedstream.cli.output import print_table
from fedstream.local.inprocess import NO_BUDGET
from fedstream.local.platform import Platform
from fedstream.record.format import StreamFormat
from fedstream.record.offsets import OffsetRange
from fedstream.settings import KafkaSettings, StoreSettings
from fedstream.steps.context import Context
from fedstream.store.objects import ObjectStore
from fedstream.stream.announcement import DATA_CONTROL_TOPIC
from fedstream.stream.broker import KafkaBrokers
from fedstream.stream.records import UNLABELLED
from fedstream.stream.sink import announcement_of
from fedstream.stream.writer import RecordWriter

TURNS = 5
DIGITS = StreamFormat("RAW", {"data_type": "uint8", "data_reshape": "8 8", "label_type": "uint8", "label_reshape": "1"})


def announce(kafka: KafkaSettings, names: list[str]) -> None:
    """Announce a stream of 60,000 records for each client, in 20 ranges, as another producer's records leave them."""
    writer = RecordWriter(kafka)
    for name in names:
        ranges = [OffsetRange(name, 0, 4_000 * part, 4_000 * part + 3_000) for part in range(20)]
        said = announcement_of(kafka, name, DIGITS, ranges, validation_rate=0.1, description="Digits of one owner")
        writer.write(DATA_CONTROL_TOPIC, said.to_bytes(), UNLABELLED)
    writer.flush()
    writer.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    clients = parser.parse_args().clients
    name, taken = f"plan-{uuid.uuid4().hex[:6]}", []
    with Platform() as platform:
        kafka = KafkaSettings.from_env(os.environ | platform.env)
        store = replace(StoreSettings.from_env(os.environ | platform.env), prefix=f"{name}/")
        announce(kafka, [f"{name}-{number}" for number in range(clients)])
        spec = {"model": "builtin:numpy-softmax", "rounds": 3}
        for turn in range(TURNS):  # each with the connections and the caches of a new process
            context = Context(ObjectStore(store), KafkaBrokers(kafka))
            began = time.perf_counter()
            steps.plan_training.within(context, {"run": f"{name}-{turn}", **spec}, NO_BUDGET)
            taken.append(time.perf_counter() - began)
        planned = len(context.run(f"{name}-{turn}").record.clients)
    print_table(
        f"seconds to plan a run, of {TURNS} turns",
        ["announcements", "clients planned", "best", "worst"],
        [(clients, planned, min(taken), max(taken))],
    )


if __name__ == "__main__":
    main()
