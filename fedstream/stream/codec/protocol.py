"""What every codec can do. Knows no format, no Kafka and no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.stream.records import RawRecords, RecordSize


class Codec(Protocol):
    """How the records of one stream are written and read. Frozen; whatever bytes it reads, it raises RecordError and nothing else."""

    @property
    def data_dtype(self) -> np.dtype[Any]:
        """Numpy type of a sample."""
        ...

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        ...

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """Numpy type of a label."""
        ...

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label; () for a scalar."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns of a flat sample, in its order, where the records themselves carry them; empty otherwise."""
        ...

    @property
    def record_size(self) -> RecordSize:
        """Bytes of a record; a larger one is refused before it is in memory."""
        ...

    @property
    def sample_format(self) -> str:
        """How samples are read, in a few words: codecs that say the same read the same samples. Labels play no part in it."""
        ...

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config.

        Raises:
            AnnouncementError: names the field that is missing or wrong.
        """
        ...

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first sample.

        Args:
            data: the sample.
            label: its label.
            names: of the columns of a flat sample.

        Raises:
            AnnouncementError: such samples cannot be written in this format.
        """
        ...

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records to predict, which need not say anything about labels.

        Raises:
            AnnouncementError: names the field that is missing or wrong.
        """
        ...

    def config(self) -> dict[str, Any]:
        """Return the announcement's input_config."""
        ...

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return a codec whose samples have their columns in another order, as far as records carry names.

        Args:
            own: names of this stream's columns, in its order.
            wanted: the same names in the order wanted.
        """
        ...

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return a record's value and key.

        Args:
            sample: of data_dtype and data_shape.
            label: of label_dtype and label_shape; None for a record without one.

        Raises:
            RecordError: the format has no spelling for a value.
        """
        ...

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return samples (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: a record is not as announced; names topic, partition and offset.
        """
        ...

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one sample of data_shape.

        Raises:
            RecordError: there is none, or it is not as announced.
        """
        ...
