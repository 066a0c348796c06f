"""One Kafka cluster as the steps use it, and the clusters of a run by their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from fedstream.record.offsets import OffsetRange
from fedstream.settings import KafkaSettings
from fedstream.stream import control, reader
from fedstream.stream.clients import KeptClients
from fedstream.stream.records import RawRecords, RecordSize
from fedstream.stream.writer import RecordWriter, Writer


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

    def read_ranges(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None
    ) -> RawRecords:
        """Read every record of the ranges."""
        ...

    @property
    def bootstrap_servers(self) -> str:
        """Its addresses."""
        ...

    def writer(self) -> Writer:
        """Open a producer of records and announcements; the caller closes it."""
        ...

    def close(self) -> None:
        """Close the connections that are kept; used again, it opens others."""
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

    def close(self) -> None:
        """Close the connections that are kept; used again, they open others."""
        ...


class KafkaBroker:
    """A real Kafka cluster, whose clients are kept open; fedstream.stream.reader and .control say what each method raises.

    Args:
        kafka: how to reach it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka, self._clients = kafka, KeptClients()

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        return control.read_announcements(self.kafka, topic, deadline_s)

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        reader.wait_for_data(self.kafka, ranges, deadline_s, self._clients)

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        reader.check_retention(self.kafka, ranges, self._clients)

    def read_ranges(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None
    ) -> RawRecords:
        return reader.read_ranges(self.kafka, ranges, deadline_s, size, self._clients)

    def writer(self) -> RecordWriter:
        return RecordWriter(self.kafka)

    def close(self) -> None:
        self._clients.close()


class KafkaBrokers:
    """Real Kafka clusters, each reached with the credentials that were made for it.

    Args:
        kafka: how to reach the default cluster.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka, self._known = kafka, dict[str, KafkaBroker]()

    @property
    def default_servers(self) -> str:
        return self._kafka.bootstrap_servers

    def at(self, bootstrap_servers: str) -> Broker:
        if bootstrap_servers not in self._known:
            self._known[bootstrap_servers] = KafkaBroker(self._kafka.at(bootstrap_servers))
        return self._known[bootstrap_servers]

    def close(self) -> None:
        for broker in self._known.values():
            broker.close()
        self._known.clear()


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

    def close(self) -> None:
        if "_brokers" in self.__dict__:
            self._brokers.close()
