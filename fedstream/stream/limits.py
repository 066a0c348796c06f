"""Limit what one read from Kafka loads into memory.

The limits apply inside kafka-python, because checks after a poll would come too late. A batch is decompressed as a
whole, and 1 MiB of gzip can contain 1 GiB. kafka-python has no setting for this, so its function is replaced here.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

from kafka.errors import CorruptRecordError
from kafka.record import default_records, legacy_records
from kafka.serializer import Deserializer

from fedstream.errors import RecordError

BATCH_BYTES = 64 * 1024**2
"""Maximum decompressed size of a batch in bytes.

Producers limit the size of a batch before they compress it, to 1 MiB by default.
"""


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
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
            data = file.read(BATCH_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptRecordError(f"a batch is not valid gzip: {error}") from error
    if len(data) > BATCH_BYTES:
        raise _TooLarge
    return data


def _named(inflate: Any) -> Any:
    def inflate_batch(batch: Any) -> None:
        try:
            inflate(batch)
        except _TooLarge:
            raise OversizedBatch(batch.base_offset, batch.next_offset) from None

    return inflate_batch


def bound_inflation() -> None:
    """Limit the size of decompressed batches in this process. Repeated calls have no effect."""
    if default_records.gzip_decode is not _gunzip:
        default_records.gzip_decode = legacy_records.gzip_decode = _gunzip
        default_records.DefaultRecordBatch._maybe_uncompress = _named(
            default_records.DefaultRecordBatch._maybe_uncompress
        )
