"""Limit what one read from Kafka loads into memory.

The limits apply inside kafka-python, because checks after a poll would come too late. A batch is decompressed as a
whole, and 1 MiB of gzip can contain 1 GiB. kafka-python has no setting for this, so its function is replaced here.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

from kafka.errors import CorruptRecordError
from kafka.record import default_records, legacy_records
from kafka.serializer import Deserializer

from fedstream.errors import RecordError

BATCH_BYTES = 64 * 1024**2
"""Maximum decompressed size of a batch in bytes.

Producers limit the size of a batch before they compress it, to 1 MiB by default.
"""


XERIAL = b"\x82SNAPPY\0"
"""The first bytes of snappy as Java's clients write it; the 16 bytes of its header are followed by blocks."""

PACKAGES = {"snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}
"""Name of a compression -> the Python package that it needs; gzip needs none."""


class OversizedBatch(RecordError):
    """A compressed batch is too large to be read.

    Attributes:
        first: Offset of its first record.
        end: Offset after its last record.
    """

    def __init__(self, first: int, end: int) -> None:
        super().__init__(
            f"records {first} to {end - 1} are one batch that inflates to more than {BATCH_BYTES:,} bytes; "
            "send them in smaller batches"
        )
        self.first, self.end = first, end


class OversizedPart(RecordError):
    """A record's key or value is larger than announced. The reader adds which record it is."""


class AtMost(Deserializer):  # type: ignore[misc]
    """Check the size of each key or value when it is decoded, and drop the record's headers.

    Headers can have any length, and fedstream does not read them.

    Args:
        limit: Maximum size in bytes.
        what: `key` or `value`.
        cut: Whether to truncate a larger key or value to one byte more than the limit instead of raising an error.
    """

    def __init__(self, limit: int, what: str, cut: bool) -> None:
        self.limit, self.what, self.cut = limit, what, cut

    def deserialize(self, topic: str, headers: list[tuple[str, bytes]], data: bytes | None) -> bytes | None:
        if headers:
            headers.clear()
        if data is None or len(data) <= self.limit:
            return data
        if self.cut:
            return data[: self.limit + 1]
        raise oversized(self.what, len(data), self.limit)


def oversized(what: str, size: int, limit: int) -> OversizedPart:
    """Return the error for a `key` or `value` of this size in bytes."""
    return OversizedPart(f"its {what} has {size:,} bytes, and at most {limit:,} are announced")


class _TooLarge(Exception):
    """A batch exceeds BATCH_BYTES; `_named` adds its offsets."""


def _gunzip(payload: bytes | memoryview) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return file.read(BATCH_BYTES + 1)


def _unlz4(payload: bytes) -> bytes:
    import lz4.frame

    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(payload, max_length=BATCH_BYTES + 1))


def _unzstd(payload: bytes) -> bytes:
    import zstandard

    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(payload), read_across_frames=True) as reader:
        return bytes(reader.read(BATCH_BYTES + 1))


def _unsnappy(payload: bytes) -> bytes:
    """Inflate blocks, each of which begins with its inflated size, as the library of Java's clients writes them."""
    import snappy

    if not payload.startswith(XERIAL):
        blocks = [payload]
    else:
        blocks, at = [], 16
        while at < len(payload):
            size = int.from_bytes(payload[at : at + 4], "big")
            blocks.append(payload[at + 4 : at + 4 + size])
            at += 4 + size
    if sum(_varint(block) for block in blocks) > BATCH_BYTES:
        raise _TooLarge
    return b"".join(map(snappy.decompress, blocks))


def _varint(data: bytes) -> int:
    value = 0
    for place, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value
    raise ValueError("the size of a block is malformed")


def _bounded(name: str, inflate: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def inflate_bounded(payload: Any) -> bytes:
        try:
            data = inflate(payload)
        except (_TooLarge, ImportError):
            raise
        except Exception as error:
            raise CorruptRecordError(f"a batch is not valid {name}: {error}") from error
        if len(data) > BATCH_BYTES:
            raise _TooLarge
        return data

    return inflate_bounded


def missing_codec(error: Exception) -> str:
    """Return which Python package a compressed batch needs, and what to do."""
    name = next((name for name in PACKAGES if name in str(error)), "")
    if not name:
        return f"its records are compressed in an unknown way ({error}); send them with gzip, snappy, lz4 or zstd"
    return (
        f"its records are compressed with {name}, and the Python package {PACKAGES[name]} is not installed; "
        f"run `pip install {PACKAGES[name]}` where the steps run, or send the records with gzip"
    )


def _named(inflate: Any) -> Any:
    def inflate_batch(batch: Any) -> None:
        try:
            inflate(batch)
        except _TooLarge:
            raise OversizedBatch(batch.base_offset, batch.next_offset) from None

    return inflate_batch


def bound_inflation() -> None:
    """Limit the size of decompressed batches in this process. Repeated calls have no effect."""
    if default_records.gzip_decode in INFLATE.values():
        return
    for name, inflate in INFLATE.items():
        setattr(default_records, f"{name}_decode", inflate)
        if name != "zstd":  # which is younger than the old format of records
            setattr(legacy_records, f"{name}_decode", inflate)
    default_records.DefaultRecordBatch._maybe_uncompress = _named(default_records.DefaultRecordBatch._maybe_uncompress)


INFLATE = {
    name: _bounded(name, inflate)
    for name, inflate in (("gzip", _gunzip), ("snappy", _unsnappy), ("lz4", _unlz4), ("zstd", _unzstd))
}
"""How batches are inflated, by the names of kafka-python's functions."""
