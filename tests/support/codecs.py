"""Records laid out as a reader leaves them."""

from collections.abc import Sequence

from fedstream.record.offsets import OffsetRange
from fedstream.stream.records import Column, RawRecords


def records(values: Sequence[bytes], keys: Sequence[bytes], start: int = 0) -> RawRecords:
    """Lay records out in one range, as batches of two."""
    found = RawRecords([OffsetRange("t", 3, start, start + len(values))], Column(), Column())
    for first in range(0, len(values), 2):
        found.values.extend(values[first : first + 2])
        found.keys.extend(keys[first : first + 2])
    return found
