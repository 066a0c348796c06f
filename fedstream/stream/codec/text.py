"""TEXT records: the value is a text in UTF-8, and the label is the record's key, as in the RAW format.

The model turns the text into numbers: its first layer is a TextVectorization layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import NDArray

from fedstream.errors import AnnouncementError
from fedstream.stream.codec.dtypes import layout_of
from fedstream.stream.codec.part import label_config
from fedstream.stream.codec.raw import RawCodec

ONE_TEXT = {"data_type": "string", "data_reshape": "1"}
"""What the RAW format calls a text."""


class TextCodec(RawCodec):
    """The TEXT format of one stream: RAW records of one text."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config: label_type (by default int64) and label_reshape ("1").

        Raises:
            AnnouncementError: A field is invalid. The message names the field.
        """
        raw = RawCodec.from_config({"label_type": "int64", "label_reshape": "1"} | config | ONE_TEXT)
        return cls(raw.data_dtype, raw.data_shape, raw.label_dtype, raw.label_shape)

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first text and its label.

        Raises:
            AnnouncementError: The sample is not one text.
        """
        if data.size != 1 or layout_of(data, "data")["data_type"] != "string":
            raise AnnouncementError(f"a TEXT record is one text, not an array of {data.dtype} of shape {data.shape}")
        return cls.from_config(layout_of(label, "label"))

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference, which requires nothing.

        Raises:
            AnnouncementError: A field is invalid. The message names the field.
        """
        return cls.from_config(config)

    def config(self) -> dict[str, str]:
        """Return the announcement's input_config."""
        return label_config(self.key)
