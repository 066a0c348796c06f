"""The document of a slice, as the records of a client determine it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fedstream.record.documents import SliceDoc, slice_ranges
from fedstream.record.run import MatchedClient
from fedstream.statistics.measure import count_classes
from fedstream.stream.records import RawRecords


def describe_slice(client: MatchedClient, records: RawRecords, labels: NDArray[Any]) -> SliceDoc:
    """Return the document of a slice: the client's plan, and what was read from Kafka.

    Args:
        client: The client as planned.
        records: The records that were read.
        labels: Labels to count, shape (n,) or (n, 1), with the run's class numbers.
    """
    return SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=slice_ranges(records.ranges),
        gaps=slice_ranges(records.gaps),
        skipped=slice_ranges(records.skipped),
        records=len(records),
        input_format=client.input_format,
        input_config=client.input_config,
        class_counts=count_classes(labels),
        digest=records.digest,
    )
