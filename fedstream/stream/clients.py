"""Provide the reader's Kafka clients, which are opened for a single call or kept open for later calls."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from fedstream.settings import KafkaSettings
from fedstream.stream.client import admin
from fedstream.stream.consumers import Consumer, range_consumer
from fedstream.stream.records import RecordSize

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

CONSUMERS = 8
"""Number of consumers that are kept open for a cluster; each of them reads records of one size."""


class Clients(Protocol):
    """Lend the Kafka clients of a cluster."""

    def admin(self, kafka: KafkaSettings) -> AbstractContextManager[KafkaAdminClient]: ...

    def consumer(
        self, kafka: KafkaSettings, size: RecordSize | None, cut: bool = False
    ) -> AbstractContextManager[Consumer]: ...


class FreshClients:
    """Open a new Kafka client for each call."""

    def admin(self, kafka: KafkaSettings) -> AbstractContextManager[KafkaAdminClient]:
        return admin(kafka)

    def consumer(
        self, kafka: KafkaSettings, size: RecordSize | None, cut: bool = False
    ) -> AbstractContextManager[Consumer]:
        return range_consumer(kafka, size, cut)


FRESH = FreshClients()


class KeptClients:
    """Keep the Kafka clients of one cluster open.

    One call at a time uses them. If an error occurs while a client is in use, the client is closed. All are closed when
    nobody uses this object any more, and before the process ends: later, the threads that close them no longer run.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, tuple[Any, ExitStack]] = {}
        self._lock = threading.RLock()
        weakref.finalize(self, _close, self._open)

    def admin(self, kafka: KafkaSettings) -> AbstractContextManager[KafkaAdminClient]:
        return self._lend("admin", lambda: admin(kafka))

    def consumer(
        self, kafka: KafkaSettings, size: RecordSize | None, cut: bool = False
    ) -> AbstractContextManager[Consumer]:
        return self._lend((size, cut), lambda: range_consumer(kafka, size, cut))

    @contextmanager
    def _lend(self, key: Hashable, opened: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        with self._lock:
            if key not in self._open:
                if len(self._open) > CONSUMERS:
                    self.close()
                stack = ExitStack()
                self._open[key] = stack.enter_context(opened()), stack
            client, stack = self._open[key]
            try:
                yield client
            except BaseException as error:
                self._open.pop(key, None)
                if not stack.__exit__(type(error), error, error.__traceback__):
                    raise

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            _close(self._open)


def _close(clients: dict[Hashable, tuple[Any, ExitStack]]) -> None:
    for _, stack in clients.values():
        stack.close()
    clients.clear()
