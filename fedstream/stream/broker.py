"""The interface of the steps to a Kafka cluster, and the clusters of a run by address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Protocol

from fedstream.errors import TopicError
from fedstream.record.offsets import OffsetRange
from fedstream.settings import KafkaSettings
from fedstream.stream import control, reader
from fedstream.stream.bounds import Bounds, missing
from fedstream.stream.clients import KeptClients
from fedstream.stream.known_bounds import KnownBounds
from fedstream.stream.records import RawRecords, RecordSize
from fedstream.stream.writer import RecordWriter, Writer


class Broker(Protocol):
    """A cluster that stores records and carries announcements."""

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        """Return (partition, offset, value) of each message of a control topic, oldest first."""
        ...

    def heard(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        """Return what read_announcements returns, as it was at most a second ago."""
        ...

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        """Wait until all announced records are in their topics."""
        ...

    def bounds(self, topic: str) -> Bounds:
        """Return the offsets that a topic keeps, by partition; they can be a second old."""
        ...

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        """Check that the first records of the ranges are still kept."""
        ...

    def read_ranges(
        self,
        ranges: Sequence[OffsetRange],
        deadline_s: float,
        size: RecordSize | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> RawRecords:
        """Read the records of the ranges, of at most `limit` bytes in all, but for `skip` that cannot be used."""
        ...

    def read_part(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None, skip: int = 0
    ) -> RawRecords:
        """Read a part of a slice, in the middle of a pass over it."""
        ...

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of the cluster."""
        ...

    def writer(self) -> Writer:
        """Open a producer of records and announcements. The caller must close it."""
        ...

    def close(self) -> None:
        """Close the open connections. The broker opens new ones when it is used again."""
        ...


class Brokers(Protocol):
    """The clusters of a run.

    Attributes:
        default_servers: Addresses of the default cluster, which a site can also spell out.
    """

    @property
    def default_servers(self) -> str: ...

    def at(self, bootstrap_servers: str) -> Broker:
        """Return the cluster at an address; an empty address means the default cluster."""
        ...

    def close(self) -> None:
        """Close the open connections. The clusters open new ones when they are used again."""
        ...


class KafkaBroker:
    """A real Kafka cluster, whose clients are kept open.

    See fedstream.stream.reader and fedstream.stream.control for the errors that each method raises.

    Args:
        kafka: Connection settings of the cluster.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka, self._clients = kafka, KeptClients()
        self._bounds = KnownBounds(partial(_fetch_bounds, kafka, self._clients))
        self._heard: dict[str, tuple[Bounds, list[tuple[int, int, bytes]]]] = {}

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    def read_announcements(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        return control.read_announcements(self.kafka, topic, deadline_s)

    def heard(self, topic: str, deadline_s: float) -> list[tuple[int, int, bytes]]:
        try:
            bounds = self._bounds.of(topic)
        except TopicError:
            return []
        if topic not in self._heard or self._heard[topic][0] != bounds:
            self._heard[topic] = bounds, self.read_announcements(topic, deadline_s)
        return self._heard[topic][1]

    def wait_for_data(self, ranges: Sequence[OffsetRange], deadline_s: float) -> None:
        reader.wait_for_data(self.kafka, ranges, deadline_s, self._clients)

    def bounds(self, topic: str) -> Bounds:
        return self._bounds.of(topic)

    def check_retention(self, ranges: Sequence[OffsetRange]) -> None:
        missing(self._bounds.of, ranges, self.bootstrap_servers)

    def read_ranges(
        self,
        ranges: Sequence[OffsetRange],
        deadline_s: float,
        size: RecordSize | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> RawRecords:
        return reader.read_ranges(self.kafka, ranges, deadline_s, size, self._clients, skip, limit)

    def read_part(
        self, ranges: Sequence[OffsetRange], deadline_s: float, size: RecordSize | None = None, skip: int = 0
    ) -> RawRecords:
        return reader.read_part(self.kafka, ranges, deadline_s, size, self._clients, skip)

    def writer(self) -> RecordWriter:
        return RecordWriter(self.kafka)

    def close(self) -> None:
        self._clients.close()


def _fetch_bounds(kafka: KafkaSettings, clients: KeptClients, topics: Sequence[str]) -> dict[str, Bounds]:
    with clients.admin(kafka) as asked:
        return reader.bounds_of_all(asked, topics, kafka)


class KafkaBrokers:
    """Real Kafka clusters, each accessed with its own credentials.

    Args:
        kafka: Connection settings of the default cluster.
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
    """The clusters that the environment variables configure.

    The variables are read when a step first requests a cluster, because not all steps need Kafka.
    """

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
