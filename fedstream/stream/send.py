"""Send a whole data set, and announce it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fedstream.errors import UsageError
from fedstream.settings import KafkaSettings
from fedstream.stream.announcement import DataAnnouncement, invalid_client_name
from fedstream.stream.client import CONNECT_S, explained
from fedstream.stream.sink import FederatedRawSink


def send_dataset(
    kafka: KafkaSettings,
    topic: str,
    client: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    validation_rate: float = 0.0,
    restrictions: dict[str, Any] | None = None,
    description: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> DataAnnouncement:
    """Send every record, wait until all are stored, announce them, and return the announcement.

    Args:
        kafka: the data owner's brokers.
        topic: topic of the records.
        client: name of the data owner.
        x: samples (n, ...).
        y: labels (n, ...).
        validation_rate: part to hold out for validation, in [0, 1).
        restrictions: what a run must ask for to be given these records.
        description: free text.
        progress: called with the number of records just sent.

    Raises:
        UsageError: the name or the rate cannot be announced.
        BrokerError: the broker did not take the records; nothing is announced.
    """
    if reason := invalid_client_name(client):
        raise UsageError(reason)
    if not 0 <= validation_rate < 1:
        raise UsageError(f"validation_rate is {validation_rate}; expected a number from 0 to less than 1")
    sink = FederatedRawSink(
        kafka.bootstrap_servers, topic, 0, description=description, dataset_restrictions=json.dumps(restrictions or {}), validation_rate=validation_rate
    )
    sink.client = client
    try:
        for sample, label in zip(x, y, strict=True):
            sink.send(sample, label)
            progress(1)
    except BaseException:
        sink.abandon()
        raise
    sink.close()
    assert sink.announcement is not None
    return sink.announcement


def create_topic(kafka: KafkaSettings, topic: str, partitions: int) -> None:
    """Create a topic unless it is there; an existing one keeps its partitions."""
    from kafka import KafkaAdminClient
    from kafka.errors import TopicAlreadyExistsError

    with explained(kafka):
        admin = KafkaAdminClient(**kafka.client_args(), bootstrap_timeout_ms=int(CONNECT_S * 1000))
        try:
            admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": -1}})
        except TopicAlreadyExistsError:
            return
        finally:
            admin.close()
