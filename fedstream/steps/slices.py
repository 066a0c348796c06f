"""The records of a slice, with and without labels, and the examples that they become."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

from fedstream.deadline import Deadline
from fedstream.errors import RecordError
from fedstream.model.examples import Examples
from fedstream.model.split import split_mask
from fedstream.preprocessing.transform import Transform
from fedstream.record.offsets import OffsetRange
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.steps.retry import patiently
from fedstream.stream.blocks import records_per_block
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order, samples_in_order
from fedstream.stream.records import RawRecords
from fedstream.stream.unlabelled import labelled_only, unlabelled_only, unlabelled_size
from fedstream.stream.unusable import usable


class SliceRecords(NamedTuple):
    """What a client trains on in a round, as it was read.

    Attributes:
        labelled: Records of the labelled ranges; those whose key marks them as unlabelled are not trained on.
        unlabelled: Records of the unlabelled ranges; None if there are none.
    """

    labelled: RawRecords
    unlabelled: RawRecords | None = None


def read_slice(
    broker: Broker,
    record: RunRecord,
    client: MatchedClient,
    ranges: Sequence[OffsetRange],
    unlabelled: Sequence[OffsetRange],
    deadline: Deadline,
    limit: int | None = None,
) -> SliceRecords:
    """Read the records of both kinds of ranges, the second of which can be empty, without those that the run skips.

    Args:
        broker: The client's broker.
        record: The record of the run.
        client: The client as planned.
        ranges: Offsets of the labelled records.
        unlabelled: Offsets of the others.
        deadline: When an unavailable broker becomes an error.
        limit: Maximum size of the labelled records in bytes; None for what a step is allowed to hold.

    Raises:
        SliceTooLarge: The labelled records exceed the limit.
        BrokerError: They cannot be read before the deadline.
        RecordError: More of them cannot be used than the run skips.
    """
    labelled = read_labelled(broker, record, client, ranges, deadline, limit)
    if most := record.spec.max_skipped:
        labelled, _ = usable(labelled, partial(_decoded, record, client), most)
    return SliceRecords(labelled, read_unlabelled(broker, client, unlabelled, deadline) if unlabelled else None)


def read_labelled(
    broker: Broker,
    record: RunRecord,
    client: MatchedClient,
    ranges: Sequence[OffsetRange],
    deadline: Deadline,
    limit: int | None = None,
) -> RawRecords:
    """Read the records of a client's labelled ranges, also those that do not decode."""
    codec, most = get_codec(client.format), record.spec.max_skipped
    size = unlabelled_size(codec) if client.unlabelled else codec.record_size
    return patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size, most, limit))


def read_unlabelled(
    broker: Broker, client: MatchedClient, ranges: Sequence[OffsetRange], deadline: Deadline
) -> RawRecords:
    """Read the records of a client's unlabelled ranges."""
    size = unlabelled_size(get_codec(client.format))
    return patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size))


def examples_of(
    record: RunRecord, client: MatchedClient, read: SliceRecords, transform: Transform | None = None
) -> Examples:
    """Return the examples of a slice, in the run's order of columns and classes, and split.

    Args:
        record: The record of the run.
        client: The client that owns the records.
        read: The records as read.
        transform: What the run does to them before they reach the model; None to leave them as they were sent.

    Raises:
        RecordError: A record does not decode as announced, its label is not a class of the stream, or none has a label.
    """
    labelled = _labelled(client, read.labelled)
    if not len(labelled):
        raise RecordError(
            f"none of the {len(read.labelled)} records of {read.labelled.ranges[0]} has a label; "
            "send labelled records too"
        )
    x, y = decode_in_order(record, client, labelled)
    others = samples_in_order(record, client, unlabelled_only(read.unlabelled)) if read.unlabelled else None
    if transform:
        x, y = transform.samples(x), transform.labels(y)
        others = None if others is None else transform.samples(others)
    held_out = split_mask(record.spec.seed, labelled.partitions, labelled.offsets, client.held_out_rate)
    return Examples(x, y, held_out, others, block=records_per_block(get_codec(client.format)))


def _labelled(client: MatchedClient, records: RawRecords) -> RawRecords:
    return labelled_only(records, get_codec(client.format)) if client.unlabelled else records


def _decoded(record: RunRecord, client: MatchedClient, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
    return decode_in_order(record, client, _labelled(client, records))
