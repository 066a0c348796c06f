"""IMAGE records: PNG and JPEG files, whose sizes are checked before they are decompressed."""

import io

import numpy as np
import pytest
from PIL import Image
from support.codecs import records

from fedstream.errors import AnnouncementError, RecordError
from fedstream.record.format import StreamFormat
from fedstream.stream.codec import get_codec


def codec(shape, **more):
    return get_codec(StreamFormat("IMAGE", {"data_reshape": shape, **more}))


def file(image, kind="PNG"):
    target = io.BytesIO()
    image.save(target, kind)
    return target.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pngs_of_other_kinds_are_converted(mode):
    image = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)
    for shape in ("2 3", "2 3 3", "2 3 4"):
        found = codec(shape).decode_sample(file(image))
        assert found.shape == tuple(map(int, shape.split()))
        assert (found == 255).all()


def test_a_jpeg_is_read_and_its_label_is_a_name():
    grey = file(Image.new("L", (8, 8), 100), "JPEG")
    x, y = codec("8 8", label_type="string").decode_records(records([grey] * 2, [b"cat", b"dog"]))
    assert np.abs(x.astype(int) - 100).max() <= 1
    assert y.tolist() == ["cat", "dog"]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("L", (8, 9)), "its image is 9 pixels high and 8 wide, expected 8 and 8"),
        (Image.new("1", (30_000, 30_000)), "not an intact PNG|30,000 pixels high"),
        (Image.new("I;16", (8, 8)), "more than 8 bits a channel"),
    ],
    ids=["of another size", "too large", "too many bits"],
)
def test_an_image_of_another_kind_is_refused(image, reason):
    with pytest.raises(RecordError, match=reason):
        codec("8 8").decode_sample(file(image))


def test_images_that_are_small_only_as_files_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setenv("FEDSTREAM_SLICE_GIB", "1")
    with pytest.raises(RecordError, match=r"300 images have 1,200,000,000 bytes of pixels, and at most 1,073,741,824"):
        codec("2000 2000").decode_records(records([b""] * 300, [b""] * 300))


@pytest.mark.parametrize("shape", ["28", "28 28 2", "2 2 2 2", "3000 3000"])
def test_a_shape_that_is_no_image_is_refused(shape):
    with pytest.raises(AnnouncementError, match="data_reshape"):
        codec(shape)
