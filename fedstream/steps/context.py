"""The context in which a step runs.

The entry point of a step creates it from the environment, unless it is given one. Inner functions take it as an
argument.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedstream.deadline import Deadline
from fedstream.model.examples import Examples
from fedstream.model.learner import Learner, Learners, kind_of
from fedstream.privacy.secret import noise_secret
from fedstream.record.documents import SliceDoc
from fedstream.record.layout import ModelKeys
from fedstream.record.offsets import format_ranges
from fedstream.store.kept import Kept
from fedstream.store.memory import MemoryStore
from fedstream.store.objects import ObjectStore
from fedstream.store.state import RunState
from fedstream.store.store import Store
from fedstream.stream.broker import Broker, Brokers, EnvironmentBrokers
from fedstream.stream.memory import MemoryBrokers
from fedstream.stream.records import RawRecords

KEPT_BYTES = 256 * 1024 * 1024
"""Maximum number of bytes of records, and of global weights, that a process keeps for the next round."""


@dataclass(frozen=True)
class Context:
    """The services that a step uses, and what its process keeps from one step to the next.

    Attributes:
        store: Store that holds the records of runs.
        brokers: The Kafka clusters.
        clock: Monotonic clock, in seconds, for deadlines.
        noise_secret: Returns the secret of a private run's noise, or None; it is read where noise is made.
        learners: The open models.
        records: Records that were read, by `records_id`.
        blocks: Digests of the blocks of slices that are streamed, by `slice_id`.
        examples: Slices that were decoded and split, by `slice_id` and what the decoding and the split depend on.
        weights: Safetensors that were read, by digest.
        runs: What was read of each run; its plan and its commits never change.
    """

    store: Store
    brokers: Brokers
    clock: Callable[[], float] = time.monotonic
    noise_secret: Callable[[], bytes | None] = noise_secret
    learners: Learners = field(default_factory=Learners)
    records: Kept[RawRecords] = field(default_factory=lambda: Kept(KEPT_BYTES, lambda records: records.nbytes))
    blocks: Kept[list[str]] = field(default_factory=lambda: Kept(KEPT_BYTES, lambda digests: 64 * len(digests)))
    examples: Kept[Examples] = field(default_factory=lambda: Kept(KEPT_BYTES, lambda examples: examples.nbytes))
    weights: Kept[bytes] = field(default_factory=lambda: Kept(KEPT_BYTES, len))
    runs: dict[str, RunState] = field(default_factory=dict)

    @classmethod
    def from_env(cls) -> Context:
        """Return the context that the environment variables describe.

        Raises:
            SettingsError: A variable is missing or malformed.
        """
        return cls(ObjectStore.from_env(), EnvironmentBrokers())

    @classmethod
    def in_memory(cls) -> Context:
        """Return a context that needs no server and ends with the process."""
        secret = secrets.token_bytes(32)
        return cls(MemoryStore(), MemoryBrokers(), noise_secret=lambda: secret)

    def run(self, name: str) -> RunState:
        """Return the state of a run.

        Raises:
            UsageError: The name is not a valid name of a run.
        """
        return self.runs.setdefault(name, RunState(self.store, name))

    def deadline(self, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return Deadline.after(seconds, self.clock)

    def broker_of(self, state: RunState, client: str) -> Broker:
        """Return the cluster that stores a client's records."""
        return self.brokers.at(state.record.client(client).bootstrap_servers)

    @staticmethod
    def slice_id(document: SliceDoc) -> str:
        """Return an identifier of a slice's records."""
        return Context.records_id(document.bootstrap_servers, document.ranges_text, document.digest)

    @staticmethod
    def unlabelled_id(document: SliceDoc) -> str:
        """Return an identifier of a slice's records without labels; empty if it has none."""
        if not document.unlabelled:
            return ""
        ranges = format_ranges(document.unlabelled_offsets)
        return Context.records_id(document.bootstrap_servers, ranges, document.unlabelled.digest)

    @staticmethod
    def records_id(bootstrap_servers: str, ranges: str, digest: str) -> str:
        """Return an identifier of records: their location and their digest."""
        return f"{bootstrap_servers}/{ranges}/{digest}"

    def learner(self, state: RunState, client: str = "") -> Learner:
        """Return the run's model, opened according to the client's placement.

        The first call loads the model's library.

        Raises:
            CorruptObject: The initial model in the store is damaged.
            ModelError: This process cannot open the model.
        """
        model, spec = state.record.model, state.spec
        gpu_memory_mib = spec.placement_of(client).gpu_memory_mib or None
        key = (model.keras_digest, spec.threads, gpu_memory_mib)

        def make() -> Learner:
            data = self.store.get_verified(ModelKeys(model.name).initial(model.keras_digest), model.keras_digest)
            return kind_of(data).open_learner(data, spec.threads, gpu_memory_mib)

        return self.learners.get(key, make)

    def bytes_of(self, key: str, digest: str) -> bytes:
        """Return the bytes of an object that the ledger references by its SHA-256.

        Raises:
            CorruptObject: The object does not match the digest.
        """
        return self.weights.get(digest, lambda: self.store.get_verified(key, digest))
