"""The world a step works in. Its entry point makes it, of the environment unless it is given; inner functions take it."""

from __future__ import annotations

from dataclasses import dataclass

from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.broker import Broker, Brokers, EnvironmentBrokers


@dataclass(frozen=True)
class Context:
    """Where a step finds things.

    Attributes:
        store: the bucket.
        brokers: the Kafka clusters.
    """

    store: Store
    brokers: Brokers

    @classmethod
    def from_env(cls) -> Context:
        """Return what the environment variables name.

        Raises:
            SettingsError: one is missing, or cannot be what it says.
        """
        return cls(ObjectStore.from_env(), EnvironmentBrokers())

    def run(self, name: str) -> RunState:
        """Return what is on record of a run.

        Raises:
            UsageError: no run can have this name.
        """
        return RunState(self.store, name)

    def broker_of(self, state: RunState, client: str) -> Broker:
        """Return the cluster that keeps a client's records."""
        return self.brokers.at(state.record.client(client).bootstrap_servers)
