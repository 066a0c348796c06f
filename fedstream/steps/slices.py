"""The records of a slice: in memory if they fit, and otherwise read anew in every pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.deadline import Deadline
from fedstream.errors import RecordError
from fedstream.model.examples import Examples
from fedstream.model.split import split_mask
from fedstream.model.streaming import AnyExamples, ExampleStream, ahead
from fedstream.record.documents import CLASSES, SliceDoc, SliceRange
from fedstream.record.offsets import OffsetRange
from fedstream.record.run import MatchedClient, RunRecord
from fedstream.settings import held_bytes
from fedstream.steps.context import Context
from fedstream.steps.retry import patiently
from fedstream.store.state import RunState, log
from fedstream.stream.blocks import blocks_of, digest_in_passes, records_per_block
from fedstream.stream.bounds import SliceTooLarge
from fedstream.stream.broker import Broker
from fedstream.stream.codec import get_codec
from fedstream.stream.columns import decode_in_order
from fedstream.stream.records import Column, RawRecords

GRACE_S = 30.0
"""Time limit for a block, in seconds, even after the deadline: what was trained until then is still measured."""

Check = Callable[[NDArray[Any]], None]
"""Raises an error if labels are wrong."""


class SliceStream:
    """A slice that is read block by block.

    The first time that a block is read determines its digest, and every later pass must find the same records.

    Args:
        broker: The cluster that stores the records.
        client: The client that owns them.
        ranges: Offsets of the slice.
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
        self.client, self.ranges = client, sorted(ranges)
        self.blocks = blocks_of(ranges, records_per_block(codec))
        self._digests = dict(enumerate(digests))

    def read(self, number: int) -> RawRecords:
        """Return the records of a block.

        Raises:
            RecordError: They are not the ones that were there before.
            StreamError: They cannot be read.
        """
        block = self.blocks[number]
        records = patiently(
            self._deadline, lambda left_s: self._broker.read_part(block, max(left_s, GRACE_S), self._size)
        )
        if self._digests.setdefault(number, records.digest) != records.digest:
            raise replaced(",".join(map(str, block)), records.digest, self._digests[number])
        return records

    def digest(self, look: Callable[[RawRecords], None] = lambda records: None) -> str:
        """Return the digest of the slice, in two or three passes.

        Args:
            look: Called for each block of the first pass.
        """
        first = True

        def passed() -> Iterator[RawRecords]:
            nonlocal first
            looking, first = first, False
            for records in ahead(map(self.read, range(len(self.blocks)))):
                if looking:
                    look(records)
                yield records

        return digest_in_passes(self.ranges, passed)

    @property
    def digests(self) -> list[str]:
        """Digests of the blocks, after a pass."""
        return [self._digests[number] for number in range(len(self.blocks))]


def replaced(ranges: str, found: str, expected: str) -> RecordError:
    """Return the error for records that are not those on record."""
    return RecordError(
        f"the records of {ranges} have digest {found[:12]}, but ingest_from_kafka saw {expected[:12]}: "
        "they were replaced since then; announce them again for a new run"
    )


def describe_slice(client: MatchedClient, records: RawRecords, labels: NDArray[Any]) -> SliceDoc:
    """Return the document of a slice: the client's plan, and what was read from Kafka.

    Args:
        client: The client as planned.
        records: The records that were read.
        labels: Labels of the records, shape (n,) or (n, 1), with the run's class numbers.
    """
    counts: Counter[str] = Counter()
    count_labels(counts, labels)
    return _document(client, records.ranges, records.digest, counts)


def describe_stream(record: RunRecord, stream: SliceStream, check: Check) -> SliceDoc:
    """Return the document of a slice that is too large for memory. It is the same as with more memory.

    Args:
        record: The record of the run.
        stream: The slice.
        check: Called for the labels of each block.
    """
    counts: Counter[str] = Counter()

    def look(records: RawRecords) -> None:
        _, labels = decode_in_order(record, stream.client, records)
        check(labels)
        count_labels(counts, labels)

    digest = stream.digest(look)
    return _document(stream.client, stream.ranges, digest, counts)


def read_examples(context: Context, state: RunState, document: SliceDoc, deadline: Deadline) -> AnyExamples:
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
    matched, name = state.record.client(document.client), context.slice_id(document)
    try:
        records = context.records.get(name, lambda: _read(context, state, document, deadline))
    except SliceTooLarge as error:
        log.info("%s; training reads them anew in every pass", str(error).partition(";")[0])
        return _streamed(context, state, document, deadline)
    return context.examples.get(
        f"{name}/{matched.held_out_rate}/{state.spec.seed}/{state.run}",
        lambda: _examples(state, matched, records),
    )


def _read(context: Context, state: RunState, document: SliceDoc, deadline: Deadline) -> RawRecords:
    broker, size = context.broker_of(state, document.client), get_codec(document.format).record_size
    limit = held_bytes(state.spec.stream_above_mib)
    records = patiently(deadline, lambda left_s: broker.read_ranges(document.offsets, left_s, size, limit))
    if records.digest != document.digest:
        raise replaced(document.ranges_text, records.digest, document.digest)
    return records


def _streamed(context: Context, state: RunState, document: SliceDoc, deadline: Deadline) -> ExampleStream:
    matched, name = state.record.client(document.client), context.slice_id(document)
    broker = context.broker_of(state, document.client)

    def checked() -> list[str]:
        whole = SliceStream(broker, matched, document.offsets, deadline)
        if (found := whole.digest()) != document.digest:
            raise replaced(document.ranges_text, found, document.digest)
        return whole.digests

    stream = SliceStream(broker, matched, document.offsets, deadline, context.blocks.get(name, checked))
    splits = (_held_out(state, matched, RawRecords(block, Column(), Column())) for block in stream.blocks)
    return ExampleStream(
        [(int(np.count_nonzero(~held_out)), int(np.count_nonzero(held_out))) for held_out in splits],
        lambda number: _examples(state, matched, stream.read(number)),
    )


def _examples(state: RunState, matched: MatchedClient, records: RawRecords) -> Examples:
    return Examples(
        *decode_in_order(state.record, matched, records),
        _held_out(state, matched, records),
        block=records_per_block(get_codec(matched.format)),
    )


def _held_out(state: RunState, matched: MatchedClient, records: RawRecords) -> NDArray[np.bool_]:
    return split_mask(state.spec.seed, records.partitions, records.offsets, matched.held_out_rate)


def _document(
    client: MatchedClient, ranges: Sequence[OffsetRange], digest: str, class_counts: Counter[str]
) -> SliceDoc:
    return SliceDoc(
        client=client.client,
        bootstrap_servers=client.bootstrap_servers,
        ranges=[SliceRange(topic=r.topic, partition=r.partition, start=r.start, end=r.end) for r in ranges],
        records=sum(r.records for r in ranges),
        input_format=client.input_format,
        input_config=client.input_config,
        class_counts=dict(class_counts) if len(class_counts) <= CLASSES else {},
        digest=digest,
    )


def count_labels(counts: Counter[str], labels: NDArray[Any]) -> None:
    """Add the number of records of each label.

    More than CLASSES distinct labels are measurements rather than classes, and are not counted any further.
    """
    if len(counts) <= CLASSES:
        values, numbers = np.unique(labels, return_counts=True)
        some = slice(CLASSES + 1)
        counts.update({str(value): int(n) for value, n in zip(values[some], numbers[some], strict=True)})
