"""Read the records of a client that a run can use, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from fedstream.record.offsets import OffsetRange
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import RawRecords
from fedstream.stream.unusable import usable


def read_usable(
    broker: Broker, record: RunRecord, client: MatchedClient, ranges: Sequence[OffsetRange], timeout_s: float
) -> tuple[RawRecords, NDArray[Any], NDArray[Any]]:
    """Return a client's records without those that the run skips, their samples and their labels.

    Args:
        broker: The client's broker.
        record: The record of the run.
        client: The client as planned.
        ranges: Offsets to read.
        timeout_s: Seconds to read them in.

    Raises:
        BrokerError: They cannot be read in time.
        RecordError: More of them cannot be used than the run skips.
    """
    size, skip = get_codec(client.format).record_size, record.spec.max_skipped
    found = broker.read_ranges(list(ranges), timeout_s, size, skip)
    records, (x, y) = usable(found, partial(decode_in_order, record, client), skip)
    return records, x, y
