"""IMAGE records: the value is a PNG or JPEG file, and the label is the record's key, as in the RAW format."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError, RecordError
from fedstream.memory_limits import slice_bytes
from fedstream.stream.codec.dtypes import layout_of, shape_of, shape_text
from fedstream.stream.codec.part import Part, label_config, label_part
from fedstream.stream.records import UNLABELLED, RawRecords, RecordSize

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by the number of channels: grey, colour, and colour with transparency."""

DEPTHS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "CMYK"}
"""Pillow's modes with at most 8 bits a channel; more would be cut off."""

OTHER_BYTES = 128 * 1024
"""Maximum size of what a file contains besides its pixels, such as the data of a camera, in bytes."""


@dataclass(frozen=True)
class ImageCodec:
    """The IMAGE format of one stream.

    Attributes:
        data_shape: Height and width of an image, and its number of channels (1, 3 or 4) unless it is grey.
        label: How keys are read.
    """

    data_shape: tuple[int, ...]
    label: Part

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Read an announcement's input_config: data_reshape, label_type (by default int64) and label_reshape ("1").

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        shape = shape_of(config, "data_reshape")
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in MODES):
            raise AnnouncementError(
                f"input_config.data_reshape: {shape_text(shape)!r} is no image; give its height and width, "
                "and 1, 3 or 4 channels"
            )
        return cls(shape, label_part({"label_type": "int64", "label_reshape": "1"} | config))

    @classmethod
    def from_sample(cls, data: NDArray[Any], label: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Infer the format from the first image.

        Raises:
            AnnouncementError: It has no type or shape of an image.
        """
        if data.dtype != np.uint8:
            raise AnnouncementError(f"images have pixels of uint8, not {data.dtype}; convert them, or send RAW records")
        return cls.from_config(layout_of(data, "data") | layout_of(label, "label"))

    @classmethod
    def unlabelled(cls, config: dict[str, Any]) -> Self:
        """Read the input_config of records for inference, which only requires data_reshape.

        Raises:
            AnnouncementError: A field is missing or invalid. The message names the field.
        """
        return cls.from_config(config)

    def config(self) -> dict[str, str]:
        """Return the announcement's input_config."""
        return {"data_reshape": shape_text(self.data_shape)} | label_config(self.label)

    @property
    def data_dtype(self) -> np.dtype[Any]:
        """Dtype of a pixel's channel."""
        return np.dtype(np.uint8)

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """Dtype of a label; object for text."""
        return self.label.dtype

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label; () for a scalar."""
        return self.label.shape

    @property
    def names(self) -> Sequence[str]:
        """Always empty: pixels have no names."""
        return ()

    @property
    def record_size(self) -> RecordSize:
        """Maximum size of a record in bytes: noise does not shrink when it is compressed."""
        return RecordSize(2 * math.prod(self.data_shape) + OTHER_BYTES, self.label.size, least=self.label.least)

    @property
    def sample_format(self) -> str:
        """Shape of an image."""
        return f"IMAGE {shape_text(self.data_shape)}"

    def in_order(self, own: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return this codec, because pixels have no names."""
        return self

    def encode(self, sample: NDArray[Any], label: NDArray[Any] | None) -> tuple[bytes, bytes]:
        """Return the image as a PNG file, which loses nothing, and the bytes of the label as the key.

        Raises:
            RecordError: The label is a text that cannot be sent.
        """
        from PIL import Image

        file, pixels = io.BytesIO(), sample if self._mode != "L" else sample.reshape(self.data_shape[:2])
        Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).save(file, "PNG")
        return file.getvalue(), UNLABELLED if label is None else self.label.encode(label)

    def decode_records(self, records: RawRecords) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return images (n, *data_shape) and labels (n, *label_shape).

        Raises:
            RecordError: A record is no image of this shape. The message names its topic, partition and offset. Or all
                images together exceed what a step is allowed to hold.
        """
        pixels = len(records) * math.prod(self.data_shape)
        if pixels > (limit := slice_bytes()):  # a few bytes can be an image of one colour
            raise RecordError(
                f"{len(records):,} images have {pixels:,} bytes of pixels, and at most {limit:,} are held; "
                "announce fewer, or set FEDSTREAM_SLICE_GIB"
            )
        images = np.empty((len(records), *self.data_shape), np.uint8)
        for index, value in enumerate(records.values):
            try:
                images[index] = self._pixels(value)
            except RecordError as error:
                raise RecordError(f"record {records.where(index)}: {error}. Send it again as announced") from error
        return images, self.label.decode_all(records.keys, records)

    def decode_sample(self, value: bytes | None) -> NDArray[Any]:
        """Return one image of data_shape.

        Raises:
            RecordError: There is no value, or the value is no image of this shape.
        """
        if value is None:
            raise RecordError("it has no value, expected a PNG or JPEG file")
        if len(value) > (limit := self.record_size.value):
            raise RecordError(f"it has a value of {len(value):,} bytes, expected {limit:,} at most")
        return self._pixels(value)

    @property
    def _mode(self) -> str:
        return MODES[self.data_shape[2] if len(self.data_shape) == 3 else 1]

    def _pixels(self, value: bytes) -> NDArray[Any]:
        """Decode an image, whose size is checked before: a small file can say that it has a billion pixels."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(value), formats=("PNG", "JPEG")) as image:
                self._check(image)
                return np.asarray(image.convert(self._mode)).reshape(self.data_shape)
        except RecordError:
            raise
        except Exception as error:  # whatever bytes from outside make the library raise
            raise RecordError(
                f"its value is not an intact PNG or JPEG file, expected one ({type(error).__name__})"
            ) from error

    def _check(self, image: Image.Image) -> None:
        height, width = self.data_shape[:2]
        if image.size != (width, height):
            raise RecordError(
                f"its image is {image.size[1]:,} pixels high and {image.size[0]:,} wide, "
                f"expected {height:,} and {width:,}; scale it before it is sent"
            )
        if image.mode not in DEPTHS:
            raise RecordError(f"its image has more than 8 bits a channel (mode {image.mode}), expected 8")
