"""Divide a slice into blocks that are read one at a time. Does not depend on Kafka."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedstream.record.offsets import OffsetRange
from fedstream.stream.codec import Codec
from fedstream.stream.records import RawRecords, digest_prefix

BLOCK_BYTES = 8 * 1024**2
"""Size of a block in memory, in bytes: large enough that seeking to it costs little."""

BLOCK_RECORDS = 32 * 1024
"""Maximum number of records of a block."""

VALUE_BYTES = 4
"""Minimum size of a value of a sample, in bytes: preprocessing makes float32 of most types."""

KEY_BYTES = 64 * 1024**2
"""Maximum size, in bytes, of all keys of a slice that are held while its digest is computed."""


def records_per_block(codec: Codec) -> int:
    """Return the number of records of a block.

    It follows from the announced format alone, because the order of training depends on it.
    """
    size = sum(
        codec.record_size.value
        if dtype.hasobject or dtype.kind in "SUT"
        else max(dtype.itemsize, VALUE_BYTES) * math.prod(shape)
        for dtype, shape in ((codec.data_dtype, codec.data_shape), (codec.label_dtype, codec.label_shape))
    )
    return max(1, min(BLOCK_BYTES // max(1, size), BLOCK_RECORDS))


def blocks_of(ranges: Sequence[OffsetRange], records: int) -> list[list[OffsetRange]]:
    """Return the offsets of each block of this many records, in canonical order; the last block can have fewer."""
    blocks: list[list[OffsetRange]] = [[]]
    room = records
    for wanted in sorted(ranges):
        at = wanted.start
        while at < wanted.end:
            if not room:
                blocks.append([])
                room = records
            end = min(wanted.end, at + room)
            blocks[-1].append(OffsetRange(wanted.topic, wanted.partition, at, end))
            at, room = end, room - (end - at)
    return blocks


def digest_in_passes(ranges: Sequence[OffsetRange], blocks: Callable[[], Iterable[RawRecords]]) -> str:
    """Return the digest of a slice (RawRecords.digest) without holding its records.

    The digest covers all lengths, then all keys, then all values, so this takes two passes, or three if the keys are
    too large to be held.

    Args:
        ranges: The ranges of the slice, in canonical order.
        blocks: Makes a pass over its records, in canonical order.
    """
    state, keys, held = hashlib.sha256(digest_prefix(ranges)), bytearray(), True
    lengths: tuple[list[NDArray[np.integer]], list[NDArray[np.integer]]] = [], []
    for block in blocks():
        for own, column in zip(lengths, (block.keys, block.values), strict=True):
            own.append(_compact(column.sizes))
        keys += block.keys.data if held else b""
        if len(keys) > KEY_BYTES:
            held = False
            keys.clear()
    for sizes in (*lengths[0], *lengths[1]):
        state.update(sizes.astype("<i8").tobytes())
    state.update(keys)
    for block in blocks() if not held else ():
        state.update(block.keys.data)
    for block in blocks():
        state.update(block.values.data)
    return state.hexdigest()


def _compact(sizes: NDArray[np.int64]) -> NDArray[np.integer]:
    """Return lengths in as few bytes as they need; equal lengths need only one of them."""
    if len(sizes) and (sizes == sizes[0]).all():
        return np.broadcast_to(sizes[0].copy(), sizes.shape)
    return sizes.astype(np.min_scalar_type(int(sizes.max(initial=0))))
