"""The embedded Apache Kafka broker: one KRaft node that is both broker and controller."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from fedstream.errors import PlatformError
from fedstream.local import jars
from fedstream.local.java import find_java
from fedstream.local.service import NotReadyError, Service
from fedstream.settings import KafkaSettings

READY_TOPIC = "__fedstream_ready"
FORMAT_S = 120.0
PROBE_MS = 5000


class KafkaServer(Service):
    """Apache Kafka on a loopback port, without authentication; topics are created on first use and never expire."""

    name: ClassVar[str] = "kafka"
    title: ClassVar[str] = "Apache Kafka"
    port_names: ClassVar[tuple[str, ...]] = ("broker", "controller")
    start_s: ClassVar[float] = 90.0
    stop_s: ClassVar[float] = 30.0

    @property
    def settings(self) -> KafkaSettings:
        """How clients reach the broker."""
        return KafkaSettings(self.address)

    @property
    def _admin(self) -> KafkaSettings:
        """How the broker is checked."""
        return self.settings

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> list[str]:
        java = [find_java()[0], "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", *self._java_options()]
        java += [
            f"-Dlog4j2.configurationFile={jars.FILES / 'log4j2.properties'}",
            "-cp",
            jars.kafka_classpath(self.say),
        ]
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if not (self.data / "meta.properties").exists():
            self._format(java, properties)
        self.say("Starting Apache Kafka")
        return [*java, "kafka.Kafka", str(properties)]

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def probe(self) -> None:
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        args = self._admin.client_args()
        try:
            admin = KafkaAdminClient(**args, bootstrap_timeout_ms=PROBE_MS, request_timeout_ms=PROBE_MS)
            try:
                cluster = admin.describe_cluster()["cluster_id"]
            finally:
                admin.close()
            if cluster != self._cluster_id():
                raise NotReadyError(f"another cluster ({cluster}) answers on {self.address}")
            self._produce_and_consume(args)
        except KafkaError as error:
            raise NotReadyError(str(error)) from error

    def _produce_and_consume(self, args: dict[str, Any]) -> None:
        from kafka import KafkaConsumer, KafkaProducer, TopicPartition

        value = uuid.uuid4().bytes
        producer = KafkaProducer(**args, acks="all", bootstrap_timeout_ms=PROBE_MS, max_block_ms=PROBE_MS)
        try:
            sent = producer.send(READY_TOPIC, value).get(PROBE_MS / 1000)
        finally:
            producer.close(timeout=1)
        consumer = KafkaConsumer(**args, enable_auto_commit=False, bootstrap_timeout_ms=PROBE_MS)
        try:
            partition = TopicPartition(sent.topic, sent.partition)
            consumer.assign([partition])
            consumer.seek(partition, sent.offset)
            records = consumer.poll(PROBE_MS).get(partition, [])
        finally:
            consumer.close()
        if not records or records[0].value != value:
            raise NotReadyError("a test record could not be read back")

    def _cluster_id(self) -> str:
        lines = (self.data / "meta.properties").read_text().splitlines()
        return next((line.partition("=")[2] for line in lines if line.startswith("cluster.id=")), "")

    def _format(self, java: list[str], properties: Path) -> None:
        self.say("Formatting a new Kafka log folder")
        # The tool would take a leading "-" for an option.
        cluster = "f" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = [
            *java,
            "-XX:TieredStopAtLevel=1",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster,
            "-c",
            str(properties),
            "--ignore-formatted",
            *self._format_options(),
        ]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FORMAT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformError(f"Apache Kafka could not format {self.data}: {error}") from error
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-8:]
            raise PlatformError(
                f"Apache Kafka could not format {self.data}:\n" + "\n".join(f"    {line}" for line in lines)
            )

    def _java_options(self) -> list[str]:
        """Return further options of the Java runtime."""
        return []

    def _format_options(self) -> list[str]:
        """Return further options of the tool that formats the log folder."""
        return []

    def _properties(self) -> dict[str, object]:
        broker, controller = (f"127.0.0.1:{self.ports[name]}" for name in ("broker", "controller"))
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "log.dirs": str(self.data).replace("\\", "\\\\"),
            "auto.create.topics.enable": "true",
            "num.partitions": 1,
            # Records of a run must be kept: with the default of seven days, an old demo could no longer be verified.
            "log.retention.ms": -1,
            # The only node holds the only replica.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
