"""Leave out records that cannot be used, up to the number that a run allows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from fedstream.errors import RecordError
from fedstream.record.offsets import OffsetRange, total_records
from fedstream.stream.bounds import shown
from fedstream.stream.records import Column, RawRecords, RecordSize, extend, why_unusable

if TYPE_CHECKING:
    from fedstream.stream.consumers import Record

Decoded = TypeVar("Decoded")


def usable(records: RawRecords, decode: Callable[[RawRecords], Decoded], most: int) -> tuple[RawRecords, Decoded]:
    """Return the records that decode, and what they decode to.

    Args:
        records: The records as read. Those that reading has left out count too.
        decode: Decodes records, each one independently of the others.
        most: Maximum number of records to leave out.

    Raises:
        RecordError: More records cannot be decoded, or none can. The message names the first one.
    """
    try:
        return records, decode(records)
    except RecordError as error:
        if not most:
            raise
        left = most - total_records(records.skipped)
        wrong = _wrong(records, decode, left)
        if len(wrong) > left:
            raise too_many(error, most) from error
    kept = records.without(wrong)
    check_any(kept)
    return kept, decode(kept)


def without_skipped(records: RawRecords, skipped: Iterable[OffsetRange]) -> RawRecords:
    """Return the records of a slice, given those read and the offsets that the slice skips."""
    gone = {(r.topic, r.partition, offset) for r in skipped for offset in range(r.start, r.end)}
    if not gone:
        return records
    places = ((r.topic, r.partition, offset) for r in records.ranges for offset in range(r.start, r.end))
    return records.without([index for index, place in enumerate(places) if place in gone])


def too_many(first: RecordError, most: int) -> RecordError:
    """Return the error for more unusable records than may be left out."""
    return RecordError(f"{first}; more than {most} records cannot be used, which is what max_skipped allows")


def check_any(records: RawRecords) -> None:
    """Check that there is a record.

    Raises:
        RecordError: Transactions and skipped records leave none.
    """
    if not len(records):
        raise RecordError(
            f"{shown([*records.gaps, *records.skipped])} contain no record that can be used; "
            "announce offsets of records that were committed and that are as announced"
        )


def _wrong(records: RawRecords, decode: Callable[[RawRecords], object], most: int) -> list[int]:
    """Return the indexes of records that do not decode, in order; those beyond `most` can be missing.

    Halves that decode as a whole are not looked at again, so a few wrong records among many are found in a few passes.
    """
    keys, values = list(records.keys), list(records.values)
    found: list[int] = []
    parts = [(0, len(values))]
    while parts and len(found) <= most:
        start, end = parts.pop()
        part = RawRecords([OffsetRange("part", 0, start, end)], Column(), Column())
        part.values.extend(values[start:end])
        part.keys.extend(keys[start:end])
        try:
            decode(part)
        except RecordError:
            if end - start == 1:
                found.append(start)
            else:
                middle = (start + end) // 2
                parts += [(middle, end), (start, middle)]
    return found


def runs_before(batch: Sequence[Record], end: int) -> Iterator[Sequence[Record]]:
    """Yield the records before an offset as lists without gaps, of which there is usually one."""
    if batch[-1].offset - batch[0].offset == len(batch) - 1 and batch[-1].offset < end:
        yield batch
        return
    for _, run in groupby(enumerate(batch), key=lambda at: at[1].offset - at[0]):
        if found := [record for _, record in run if record.offset < end]:
            yield found


def usable_runs(
    batch: Sequence[Record], wanted: OffsetRange, size: RecordSize | None, skipped: list[OffsetRange], most: int
) -> Iterator[Sequence[Record]]:
    """Yield the usable records of a batch as lists without gaps, and add the offsets of the others to `skipped`."""
    for problem, run in groupby(batch, key=lambda record: why_unusable(record.key, record.value, size)):
        found = list(run)
        if not problem:
            yield found
            continue
        extend(skipped, OffsetRange(wanted.topic, wanted.partition, found[0].offset, found[-1].offset + 1), wanted)
        if total_records(skipped) > most:
            where = f"{wanted.topic}:{wanted.partition}:{found[0].offset}"
            raise too_many(RecordError(f"record {where} {problem}"), most)
