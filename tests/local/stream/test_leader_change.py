"""A second broker, which leads a partition and dies while it is read."""

import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from fedstream.local.kafka import KafkaServer
from fedstream.record.offsets import parse_ranges
from fedstream.settings import KafkaSettings
from fedstream.stream.reader import read_ranges


class First(KafkaServer):
    """The embedded Kafka, which gives up a dead broker soon."""

    def _properties(self) -> dict[str, object]:
        return super()._properties() | {"broker.session.timeout.ms": 2000, "broker.heartbeat.interval.ms": 500}


class Second(First):
    """Another broker of the same cluster."""

    first: First

    def _properties(self) -> dict[str, object]:
        address = f"PLAINTEXT://127.0.0.1:{self.ports['broker']}"
        return super()._properties() | {
            "process.roles": "broker",
            "node.id": 2,
            "controller.quorum.voters": f"1@127.0.0.1:{self.first.ports['controller']}",
            "listeners": address,
            "advertised.listeners": address,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }

    def _format(self, java: list[str], properties: Path) -> None:
        tool = ["kafka.tools.StorageTool", "format", "-t", self.first._cluster_id(), "-c", str(properties)]
        subprocess.run([*java, *tool], check=True, capture_output=True, timeout=120)


def test_a_read_goes_on_at_the_next_leader(tmp_path: Path, topic: str) -> None:
    first = First(tmp_path / "first", bound=True, say=print)
    second = Second(tmp_path / "second", bound=True, say=print)
    second.first = first
    try:
        first.start()
        second.start()
        both = KafkaSettings(f"{first.address},{second.address}")
        with KafkaAdminClient(**both.client_args()) as asked:
            asked.create_topics([NewTopic(topic, replica_assignments={0: [2, 1]})])
        write(both, topic, *range(5))
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read_ranges, both, parse_ranges(f"{topic}:0:0:6"), 120)
            assert not wait([reading], timeout=3).done
            second.kill()
            write(KafkaSettings(first.address), topic, 5)
            assert list(reading.result(120).values) == [bytes([number]) for number in range(6)]
    finally:
        second.stop()
        first.stop()


def write(kafka: KafkaSettings, topic: str, *numbers: int) -> None:
    with KafkaProducer(**kafka.client_args(), acks="all") as producer:
        for number in numbers:
            producer.send(topic, key=b"k", value=bytes([number]), partition=0)
