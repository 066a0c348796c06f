"""The layout of the bytes of a stream's records, as in announcements, spec.json and slices. Pure; codecs use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

RAW = "RAW"
"""The format of a document that names none: the format of Kafka-ML, and the only one in the oldest documents."""


@dataclass(frozen=True)
class StreamFormat:
    """The name of a format and its configuration for a stream.

    Attributes:
        format: name of the codec, such as `RAW`.
        config: the codec's configuration.
    """

    format: str
    config: dict[str, Any]


class RecordShapes(Protocol):
    """What a codec says of its records: types, and shapes without the batch."""

    @property
    def data_dtype(self) -> np.dtype[Any]: ...

    @property
    def data_shape(self) -> Sequence[int]: ...

    @property
    def label_shape(self) -> Sequence[int]: ...
