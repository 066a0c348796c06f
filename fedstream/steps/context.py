"""The world a step works in. Its entry point makes it, of the environment unless it is given; inner functions take it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedstream.model.learner import Learner, Learners, kind_of
from fedstream.record.documents import SliceDoc
from fedstream.record.layout import ModelKeys
from fedstream.store.kept import Kept
from fedstream.store.memory import MemoryStore
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.broker import Broker, Brokers, EnvironmentBrokers
from fedstream.stream.memory import MemoryBrokers
from fedstream.stream.records import RawRecords

KEPT_BYTES = 256 * 1024 * 1024
"""Bytes of records, and of global weights, that a process keeps for the next round."""


@dataclass(frozen=True)
class Context:
    """Where a step finds things, and what its process keeps from one step to the next.

    Attributes:
        store: where a run is on record.
        brokers: the Kafka clusters.
        clock: seconds that only grow; deadlines are reckoned in them.
        learners: the models that are open.
        records: slices that were read, by `slice_id`.
        weights: safetensors that were read, by digest.
        runs: what was read of each run; its plan and its commits never change.
    """

    store: Store
    brokers: Brokers
    clock: Callable[[], float] = time.monotonic
    learners: Learners = field(default_factory=Learners)
    records: Kept[RawRecords] = field(default_factory=lambda: Kept(KEPT_BYTES, lambda records: records.nbytes))
    weights: Kept[bytes] = field(default_factory=lambda: Kept(KEPT_BYTES, len))
    runs: dict[str, RunState] = field(default_factory=dict)

    @classmethod
    def from_env(cls) -> Context:
        """Return what the environment variables name.

        Raises:
            SettingsError: one is missing, or cannot be what it says.
        """
        return cls(ObjectStore.from_env(), EnvironmentBrokers())

    @classmethod
    def in_memory(cls) -> Context:
        """Return a world of its own, without any server, which ends with the process."""
        return cls(MemoryStore(), MemoryBrokers())

    def run(self, name: str) -> RunState:
        """Return what is on record of a run.

        Raises:
            UsageError: no run can have this name.
        """
        return self.runs.setdefault(name, RunState(self.store, name))

    def broker_of(self, state: RunState, client: str) -> Broker:
        """Return the cluster that keeps a client's records."""
        return self.brokers.at(state.record.client(client).bootstrap_servers)

    @staticmethod
    def slice_id(document: SliceDoc) -> str:
        """Return what tells a slice's records from all others: where they are, and their digest."""
        return f"{document.bootstrap_servers}/{document.ranges_text}/{document.digest}"

    def learner(self, state: RunState, client: str = "") -> Learner:
        """Return the run's model, open as a client's placement says; its first use loads its library.

        Raises:
            CorruptObject: the initial model in the store is damaged.
            ModelError: this process cannot open it.
        """
        model, spec = state.record.model, state.spec
        gpu_memory_mib = spec.placement_of(client).gpu_memory_mib or None
        key = (model.keras_digest, spec.threads, gpu_memory_mib)

        def make() -> Learner:
            data = self.store.get_verified(ModelKeys(model.name).initial(model.keras_digest), model.keras_digest)
            return kind_of(data).open_learner(data, spec.threads, gpu_memory_mib)

        return self.learners.get(key, make)

    def bytes_of(self, key: str, digest: str) -> bytes:
        """Return the bytes of an object that the ledger names by its SHA-256.

        Raises:
            CorruptObject: it is another.
        """
        return self.weights.get(digest, lambda: self.store.get_verified(key, digest))
