"""The records of a slice, with and without labels, and the examples that they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fedstream.deadline import Deadline
from fedstream.model.examples import Examples
from fedstream.model.split import split_mask
from fedstream.record.offsets import OffsetRange
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.steps.retry import patiently
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order, samples_in_order
from fedstream.stream.records import RawRecords
from fedstream.stream.unlabelled import labelled_only, unlabelled_only, unlabelled_size


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
    client: MatchedClient,
    ranges: Sequence[OffsetRange],
    unlabelled: Sequence[OffsetRange],
    deadline: Deadline,
) -> SliceRecords:
    """Read the records of both kinds of ranges, the second of which can be empty."""
    labelled = read_labelled(broker, client, ranges, deadline)
    return SliceRecords(labelled, read_unlabelled(broker, client, unlabelled, deadline) if unlabelled else None)


def read_labelled(
    broker: Broker, client: MatchedClient, ranges: Sequence[OffsetRange], deadline: Deadline
) -> RawRecords:
    """Read the records of a client's labelled ranges."""
    codec = get_codec(client.format)
    size = unlabelled_size(codec) if client.unlabelled else codec.record_size
    return patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size))


def read_unlabelled(
    broker: Broker, client: MatchedClient, ranges: Sequence[OffsetRange], deadline: Deadline
) -> RawRecords:
    """Read the records of a client's unlabelled ranges."""
    size = unlabelled_size(get_codec(client.format))
    return patiently(deadline, lambda left_s: broker.read_ranges(ranges, left_s, size))


def examples_of(record: RunRecord, client: MatchedClient, read: SliceRecords) -> Examples:
    """Return the examples of a slice, in the run's order of columns and classes, and split.

    Raises:
        RecordError: A record does not decode as announced, its label is not a class of the stream, or none has a label.
    """
    labelled = labelled_only(read.labelled, get_codec(client.format)) if client.unlabelled else read.labelled
    return Examples(
        *decode_in_order(record, client, labelled),
        split_mask(record.spec.seed, labelled.partitions, labelled.offsets, client.held_out_rate),
        samples_in_order(record, client, unlabelled_only(read.unlabelled)) if read.unlabelled else None,
    )
