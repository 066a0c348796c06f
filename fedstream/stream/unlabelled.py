"""Tell records with and without labels apart, which can lie in the same topic. Pure functions."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from fedstream.stream.codec import Codec
from fedstream.stream.records import UNLABELLED, Column, RawRecords, RecordSize


def is_ambiguous(codec: Codec) -> bool:
    """Return whether a labelled record can look like one without a label, because its key is one zero byte as well."""
    sample, label = np.zeros(codec.data_shape, codec.data_dtype), np.zeros(codec.label_shape, codec.label_dtype)
    return codec.encode(sample, label)[1] == UNLABELLED


def labelled_only(records: RawRecords, codec: Codec) -> RawRecords:
    """Return the records without those whose key is one zero byte.

    If labels of this codec can be one zero byte, every record has a label.
    """
    if is_ambiguous(codec):
        return records
    return _chosen(records, ~_marked(records.keys))


def unlabelled_only(records: RawRecords) -> RawRecords:
    """Return the records whose key is one zero byte or empty."""
    return _chosen(records, _marked(records.keys) | (records.keys.sizes == 0))


def unlabelled_size(codec: Codec) -> RecordSize:
    """Return the size of a record that may have no label."""
    size = codec.record_size
    return replace(size, key=max(size.key, len(UNLABELLED)), least=max(0, size.least - size.key), keyless=True)


def _marked(keys: Column) -> NDArray[np.bool_]:
    """Return for each key whether it is one zero byte, shape (n,)."""
    sizes, data = keys.sizes, np.frombuffer(bytes(keys.data) + UNLABELLED, np.uint8)
    starts = np.cumsum(sizes) - sizes
    return np.asarray((sizes == len(UNLABELLED)) & (data[starts] == UNLABELLED[0]))


def _chosen(records: RawRecords, mask: NDArray[np.bool_]) -> RawRecords:
    """Return some of the records. Their ranges contain exactly them."""
    if mask.all():
        return records
    index = np.flatnonzero(mask)
    numbers = np.repeat(np.arange(len(records.ranges)), [r.records for r in records.ranges])[index]
    # A new range begins where the records do not follow each other, and where they are of another range.
    firsts = np.flatnonzero((np.diff(index, prepend=-2) != 1) | (np.diff(numbers, prepend=-1) != 0))
    lasts = np.append(firsts[1:], len(index))[: len(firsts)] - 1
    offsets = records.offsets[index]
    ranges = [
        replace(records.ranges[number], start=start, end=end + 1)
        for number, start, end in zip(
            numbers[firsts].tolist(), offsets[firsts].tolist(), offsets[lasts].tolist(), strict=True
        )
    ]
    found = RawRecords(ranges, Column(), Column())
    for own, all_of_them in ((found.values, records.values), (found.keys, records.keys)):
        own.extend(list(compress(all_of_them, mask)))
    return found
