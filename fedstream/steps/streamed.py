"""Slices that are larger than memory: their records are read anew in every pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.deadline import Deadline
from fedstream.errors import RecordError
from fedstream.memory_limits import held_bytes
from fedstream.model.split import split_mask
from fedstream.model.streaming import ExampleStream, ahead
from fedstream.record.documents import CLASSES, SliceDoc, slice_ranges
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.steps.context import Context
from fedstream.steps.preprocessing import transform_of
from fedstream.steps.retry import patiently
from fedstream.steps.slices import SliceRecords, examples_of
from fedstream.store.state import RunState
from fedstream.stream.blocks import blocks_of, digest_in_passes, records_per_block
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import Column, RawRecords, extend
from fedstream.stream.unusable import check_any, too_many, usable

GRACE_S = 30.0
"""Time limit for a block, in seconds, even after the deadline: what was trained until then is still measured."""


class SliceStream:
    """A slice that is read block by block.

    The first time that a block is read determines its digest, and every later pass must find the same records.

    Args:
        broker: The cluster that stores the records.
        client: The client that owns them.
        ranges: Offsets of the records, in canonical order.
        deadline: When an unavailable broker becomes an error.
        digests: Digests of the blocks, if they are known.
    """

    def __init__(
        self,
        broker: Broker,
        client: MatchedClient,
        ranges: Sequence[OffsetRange],
        deadline: Deadline,
        digests: Sequence[str] = (),
    ) -> None:
        codec = get_codec(client.format)
        self._broker, self._deadline, self._size = broker, deadline, codec.record_size
        self.client, self.ranges = client, ranges
        self.blocks = blocks_of(ranges, records_per_block(codec))
        self._digests = dict(enumerate(digests))

    def read(self, number: int, skip: int = 0) -> RawRecords:
        """Return the records of a block.

        Args:
            number: Number of the block.
            skip: Maximum number of records that are left out because they cannot be used.

        Raises:
            RecordError: They are not the ones that were there before.
            StreamError: They cannot be read.
        """
        block = self.blocks[number]
        records = patiently(
            self._deadline, lambda left_s: self._broker.read_part(block, max(left_s, GRACE_S), self._size, skip)
        )
        if self._digests.setdefault(number, records.digest) != records.digest:
            raise replaced(",".join(map(str, block)), records.digest, self._digests[number])
        return records

    def passed(self, skip: int = 0) -> Iterator[RawRecords]:
        """Make a pass over all records, in canonical order."""
        return ahead(self.read(number, skip) for number in range(len(self.blocks)))

    def digest(self) -> str:
        """Return the digest of the slice, in two or three passes."""
        return digest_in_passes(self.ranges, self.passed)

    @property
    def digests(self) -> list[str]:
        """Digests of the blocks, after a pass."""
        return [self._digests[number] for number in range(len(self.blocks))]


@dataclass(frozen=True)
class Found:
    """What a first pass finds out about a client's records.

    Attributes:
        ranges: Offsets of the records that can be used.
        gaps: Offsets that transactions left without a record.
        skipped: Offsets of records that cannot be used.
        counts: Label -> number of records.
    """

    ranges: list[OffsetRange] = field(default_factory=list)
    gaps: list[OffsetRange] = field(default_factory=list)
    skipped: list[OffsetRange] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, fed: Sequence[OffsetRange], records: RawRecords) -> None:
        """Add the offsets of a block, as if all blocks had been read at once.

        Args:
            fed: The whole ranges that the feed gave.
            records: The records of the block.
        """
        for own, more in zip(
            (self.ranges, self.gaps, self.skipped), (records.ranges, records.gaps, records.skipped), strict=True
        ):
            for piece in more:
                extend(own, piece, next(r for r in fed if _contains(r, piece)))

    def count(self, labels: NDArray[Any]) -> None:
        """Count labels, as fedstream.statistics.measure.count_classes does.

        More than CLASSES distinct labels are measurements rather than classes, and are not counted any further.
        """
        if len(self.counts) <= CLASSES:
            values, numbers = (each[: CLASSES + 1] for each in np.unique(labels, return_counts=True))
            self.counts.update({str(value): int(n) for value, n in zip(values, numbers, strict=True)})


def describe_stream(
    broker: Broker,
    record: RunRecord,
    client: MatchedClient,
    fed: Sequence[OffsetRange],
    deadline: Deadline,
    check: Callable[[NDArray[Any]], None] = lambda labels: None,
) -> tuple[SliceDoc, list[str]]:
    """Return the document of a slice that is too large for memory, and the digests of its blocks.

    The document is the one that a step with more memory would write. It takes three passes: one finds out which records
    can be used, and two compute the digest.

    Args:
        broker: The client's broker.
        record: The record of the run.
        client: The client as planned.
        fed: Offsets that the feed gives.
        deadline: When an unavailable broker becomes an error.
        check: Called for the labels of each block.

    Raises:
        RecordError: More records cannot be used than the run skips, or none can.
        StreamError: They cannot be read.
    """
    fed, skip, found = sorted(fed), record.spec.max_skipped, Found()
    for records in SliceStream(broker, client, fed, deadline).passed(skip):
        if not len(records):
            found.add(fed, records)
            continue
        kept, (_, labels) = usable(records, partial(decode_in_order, record, client), skip)
        found.add(fed, kept)
        if total_records(found.skipped) > skip:
            raise too_many(RecordError(f"record {found.skipped[-1]} cannot be used"), skip)
        check(labels)
        found.count(labels)
    check_any(RawRecords(found.ranges, Column(), Column(), found.gaps, found.skipped))
    stream = SliceStream(broker, client, found.ranges, deadline)
    document = SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=slice_ranges(found.ranges),
        gaps=slice_ranges(found.gaps),
        skipped=slice_ranges(sorted(found.skipped)),
        records=total_records(found.ranges),
        input_format=client.input_format,
        input_config=client.input_config,
        class_counts=dict(found.counts) if len(found.counts) <= CLASSES else {},
        digest=stream.digest(),
    )
    return document, stream.digests


def _contains(outer: OffsetRange, inner: OffsetRange) -> bool:
    same = (outer.topic, outer.partition) == (inner.topic, inner.partition)
    return same and outer.start <= inner.start and inner.end <= outer.end


def replaced(ranges: str, found: str, expected: str) -> RecordError:
    """Return the error for records that are not those on record."""
    return RecordError(
        f"the records of {ranges} have digest {found[:12]}, but ingest_from_kafka saw {expected[:12]}: "
        "they were replaced since then; announce them again for a new run"
    )


def streaming_limit(record: RunRecord, client: MatchedClient) -> int | None:
    """Return the size in bytes from which on a client's records are streamed; None if they have to be in memory.

    Training on records without labels, and the summary of a live slice, need all of them at once.
    """
    if client.unlabelled or record.spec.unsupervised or record.spec.feed.live:
        return None
    return held_bytes(record.spec.stream_above_mib)


def stream_examples(context: Context, state: RunState, document: SliceDoc, deadline: Deadline) -> ExampleStream:
    """Return the examples of a slice, after checking that its records are those on record.

    Args:
        context: The context in which the step runs.
        state: The run.
        document: The slice.
        deadline: When an unavailable broker becomes an error.

    Raises:
        RecordError: The records are not those of the slice, or do not decode as announced.
        StreamError: They cannot be read.
    """
    record, client = state.record, state.record.client(document.client)
    broker, transform = context.broker_of(state, document.client), transform_of(state, client)

    def checked() -> list[str]:
        whole = SliceStream(broker, client, document.offsets, deadline)
        if (found := whole.digest()) != document.digest:
            raise replaced(document.ranges_text, found, document.digest)
        return whole.digests

    stream = SliceStream(
        broker, client, document.offsets, deadline, context.blocks.get(context.slice_id(document), checked)
    )
    places = (RawRecords(block, Column(), Column()) for block in stream.blocks)
    masks = (split_mask(record.spec.seed, at.partitions, at.offsets, client.held_out_rate) for at in places)
    splits = [(int(np.count_nonzero(~held_out)), int(np.count_nonzero(held_out))) for held_out in masks]
    return ExampleStream(
        splits, lambda number: examples_of(record, client, SliceRecords(stream.read(number)), transform)
    )
