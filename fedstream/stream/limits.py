"""Bounds on what one read from Kafka brings into memory, set inside kafka-python: after a poll it would be too late.

A batch is inflated whole, and 1 MiB of gzip may hold 1 GiB. kafka-python has no setting for that, so its function is replaced here.
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
"""Bytes that one compressed batch may inflate to. Producers bound a batch before they compress it, by 1 MiB unless told otherwise."""


class OversizedBatch(RecordError):
    """A compressed batch is larger than is read.

    Attributes:
        first: offset of its first record.
        end: offset after its last record.
    """

    def __init__(self, first: int, end: int) -> None:
        super().__init__(
            f"records {first} to {end - 1} are one batch that inflates to more than {BATCH_BYTES:,} bytes; send them in smaller batches"
        )
        self.first, self.end = first, end


class OversizedPart(RecordError):
    """A record's key or value is larger than announced; the reader knows which record it is."""


class AtMost(Deserializer):  # type: ignore[misc]
    """Looks at each key or value as it is decoded, and drops the record's headers, which nobody reads and which may be of any length.

    Args:
        limit: bytes it may have.
        what: `key` or `value`.
        cut: whether a longer one is cut to one byte more than the limit; otherwise it is an error.
    """

    def __init__(self, limit: int, what: str, cut: bool) -> None:
        self.limit, self.what, self.cut = limit, what, cut

    def deserialize(self, topic: str, headers: list[tuple[str, bytes]], data: bytes | None) -> bytes | None:
        headers.clear()
        if data is None or len(data) <= self.limit:
            return data
        if self.cut:
            return data[: self.limit + 1]
        raise OversizedPart(f"its {self.what} has {len(data):,} bytes, and at most {self.limit:,} are announced")


class _TooLarge(Exception):
    """Internal to a batch."""


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
    """Bound what this process inflates; done once."""
    if default_records.gzip_decode is not _gunzip:
        default_records.gzip_decode = legacy_records.gzip_decode = _gunzip
        default_records.DefaultRecordBatch._maybe_uncompress = _named(
            default_records.DefaultRecordBatch._maybe_uncompress
        )
