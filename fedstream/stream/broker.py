"""One Kafka cluster as the steps use it, and the clusters of a run by their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from fedstream.record.offsets import OffsetRange
from fedstream.settings import KafkaSettings
from fedstream.stream import control, reader
from fedstream.stream.announcement import MODEL_CONTROL_TOPIC, ModelAnnouncement
from fedstream.stream.records import RawRecords, RecordSize
from fedstream.stream.sink import announce_model


class Broker(Protocol):
    """A cluster that keeps records, and that announcements go through."""

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        """Return (partition, offset, value) of the messages of a control topic, oldest first."""
        ...

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        """Wait until all announced records are there."""
        ...

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        """Check that the first records of the ranges are still kept."""
        ...

    def read_ranges(self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None) -> RawRecords:
        """Read every record of the ranges."""
        ...

    def announce_model(self, announcement: ModelAnnouncement) -> None:
        """Tell the data owners of a published model."""
        ...


class Brokers(Protocol):
    """The clusters of a run.

    Attributes:
        default_servers: addresses of the default cluster, as a site may spell them out.
    """

    @property
    def default_servers(self) -> str: ...

    def at(self, bootstrap_servers: str) -> Broker:
        """Return the cluster at an address; an empty one stands for the default cluster."""
        ...


@dataclass(frozen=True)
class KafkaBroker:
    """A real Kafka cluster; fedstream.stream.reader and .control say what each method raises."""

    kafka: KafkaSettings

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        return control.read_announcements(self.kafka, topic, deadline_s)

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        reader.wait_for_data(self.kafka, ranges, deadline_s)

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        reader.check_retention(self.kafka, ranges)

    def read_ranges(self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None) -> RawRecords:
        return reader.read_ranges(self.kafka, ranges, deadline_s, size)

    def announce_model(self, announcement: ModelAnnouncement) -> None:
        announce_model(self.kafka, announcement, MODEL_CONTROL_TOPIC)


@dataclass(frozen=True)
class KafkaBrokers:
    """Real Kafka clusters, each reached with the credentials that were made for it.

    Attributes:
        kafka: how to reach the default cluster.
    """

    kafka: KafkaSettings

    @property
    def default_servers(self) -> str:
        return self.kafka.bootstrap_servers

    def at(self, bootstrap_servers: str) -> Broker:
        return KafkaBroker(self.kafka.at(bootstrap_servers))


class EnvironmentBrokers:
    """The clusters that the environment names, which is read when a step first asks for one: not all of them need Kafka."""

    @cached_property
    def _brokers(self) -> KafkaBrokers:
        return KafkaBrokers(KafkaSettings.from_env())

    @property
    def default_servers(self) -> str:
        return self._brokers.default_servers

    def at(self, bootstrap_servers: str) -> Broker:
        return self._brokers.at(bootstrap_servers)
