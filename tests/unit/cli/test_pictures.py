"""Pictures as text."""

import numpy as np
import pytest

from fedstream.cli.pictures import is_picture, picture


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        *((shape, True) for shape in ((28, 28), (8, 8, 1), (32, 32, 3))),
        *((shape, False) for shape in ((28, 28, 4), (3, 28), (784,), (), (129, 28), (4, 4, 4, 3))),
    ],
)
def test_arrays_with_two_long_sides_are_pictures(shape: tuple[int, ...], expected: bool) -> None:
    assert is_picture(shape) is expected


def test_two_rows_of_pixels_are_one_line_in_shades_or_colours() -> None:
    sample = np.array([[0, 9], [0, 9], [9, 0], [0, 0], [9, 9]], np.uint8)
    assert picture(sample, colours=False).plain == " █\n▒ \n▒▒"
    drawn = picture(sample, colours=True)
    assert drawn.plain == "▀▀\n▀▀\n▀▀"
    first, second = (str(span.style) for span in drawn.spans[:2])
    assert (first, second) == ("rgb(0,0,0) on rgb(0,0,0)", "rgb(255,255,255) on rgb(255,255,255)")
    assert str(drawn.spans[-1].style) == "rgb(255,255,255) on rgb(0,0,0)", "an odd row has nothing below"


def test_channels_are_colours_and_what_is_no_number_is_black() -> None:
    sample = np.zeros((2, 1, 3), np.float32)
    sample[0, 0, 0], sample[1, 0, 1] = 2.0, np.nan
    assert str(picture(sample, colours=True).spans[0].style) == "rgb(255,0,0) on rgb(0,0,0)"
    assert picture(np.full((2, 2), 7), colours=False).plain == "  ", "one value has no contrast"
