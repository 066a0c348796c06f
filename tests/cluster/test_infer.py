"""The component infer: two replicas share a topic, one is killed, and no record is left out."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from support.data import blobs, send_clients
from support.kubernetes_api import items, kubectl, until
from support.local_overlay import FOLDER, run_here

PODS = ("pods", "-l", "app.kubernetes.io/name=infer")
BATCH = 300


@dataclass(frozen=True)
class Service:
    namespace: str
    kafka_args: dict[str, object]
    input_topic: str
    output_topic: str

    def ready(self) -> list[str]:
        """Return the names of the pods that are ready."""
        conditions = {
            pod["metadata"]["name"]: pod["status"].get("conditions", []) for pod in items("-n", self.namespace, *PODS)
        }
        return [
            name
            for name, all_of in conditions.items()
            if any(one["type"] == "Ready" and one["status"] == "True" for one in all_of)
        ]


@pytest.fixture
def service(overlay, tmp_path: Path) -> Iterator[Service]:
    """Publish a model, and let two replicas predict the records of a topic with two partitions."""
    clients = send_clients(overlay.kafka, ("a",))
    run_here(
        {"run": f"run-{uuid.uuid4().hex[:8]}", "model": "builtin:digits-mlp", "clients": clients, "rounds": 1},
        overlay.env,
    )
    topics = [f"{what}-{uuid.uuid4().hex[:8]}" for what in ("images", "predictions")]
    with KafkaAdminClient(**overlay.kafka.client_args()) as admin:
        admin.create_topics([NewTopic(topics[0], 2, 1), NewTopic(topics[1], 1, 1)])
    config = {"MODEL": "builtin:digits-mlp", "INPUT_TOPIC": topics[0], "OUTPUT_TOPIC": topics[1], "ERROR_TOPIC": ""}
    kustomization = {
        "namespace": overlay.namespace,
        "components": [os.path.relpath(FOLDER.parent / "components" / "infer", tmp_path.resolve())],
        "patches": [
            {
                "patch": yaml.safe_dump(
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "infer"}, "data": config}
                )
            }
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    kubectl("apply", "-k", str(tmp_path))
    yield Service(overlay.namespace, overlay.kafka.client_args(), *topics)
    kubectl("delete", "-k", str(tmp_path), "--wait=false")


def test_two_replicas_lose_no_record_when_one_is_killed(service: Service) -> None:
    until("both replicas are ready", lambda: len(service.ready()) == 2, 400)
    first, second = {f"a-{number}" for number in range(BATCH)}, {f"b-{number}" for number in range(BATCH)}
    with KafkaConsumer(service.output_topic, auto_offset_reset="earliest", **service.kafka_args) as consumer:
        seen: set[str] = set()
        _send(service, first)
        until("the first predictions", lambda: _collect(consumer, seen))

        kubectl("-n", service.namespace, "delete", "pod", service.ready()[0], "--grace-period=0", "--force")
        _send(service, second)

        until("a prediction for each record", lambda: _collect(consumer, seen) >= 2 * BATCH, 180)
    assert seen == first | second
    until("the killed replica is replaced", lambda: len(service.ready()) == 2, 400)


def _send(service: Service, names: set[str]) -> None:
    samples, _ = blobs(0, len(names))
    with KafkaProducer(acks="all", **service.kafka_args) as producer:
        for number, (name, sample) in enumerate(zip(sorted(names), samples.astype(np.float32), strict=True)):
            producer.send(service.input_topic, sample.tobytes(), key=name.encode(), partition=number % 2)
        producer.flush(60)


def _collect(consumer: KafkaConsumer, seen: set[str]) -> int:
    """Note whose predictions have come, and return how many records have one."""
    for records in consumer.poll(timeout_ms=100).values():
        seen.update(record.key.decode() for record in records)
    return len(seen)
