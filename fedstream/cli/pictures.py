"""Pictures in a terminal: two rows of pixels in each line of text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

SIDE = 4, 128
"""Fewest and most pixels of a side; larger pictures do not fit a terminal."""

SHADES = " ░▒▓█"
"""Characters from dark to bright, for a terminal without colours."""


def is_picture(shape: tuple[int, ...]) -> bool:
    """Return whether samples of a shape are pictures: (height, width), or with 1 or 3 channels."""
    return (
        len(shape) in (2, 3) and all(SIDE[0] <= side <= SIDE[1] for side in shape[:2]) and shape[2:] in ((), (1,), (3,))
    )


def picture(sample: NDArray[Any], colours: bool) -> Text:
    """Return a sample as text, its smallest value black and its largest value white.

    Args:
        sample: Array for whose shape is_picture is true.
        colours: Whether the terminal has colours; if not, characters stand for shades of grey.
    """
    pixels = _scaled(sample)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    text = Text(no_wrap=True)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            if colours:
                text.append("▀", style=f"rgb({','.join(map(str, top))}) on rgb({','.join(map(str, bottom))})")
            else:
                text.append(SHADES[int(np.mean([top, bottom])) * len(SHADES) // 256])
        text.append("\n")
    text.right_crop(1)
    return text


def _scaled(sample: NDArray[Any]) -> NDArray[np.int64]:
    """Return a picture as (height, width, 3), each value from 0 to 255."""
    values = np.nan_to_num(np.asarray(sample, np.float64))
    low, high = values.min(), values.max()
    scaled = ((values - low) / ((high - low) or 1.0) * 255).astype(np.int64)
    return np.broadcast_to(scaled.reshape(*scaled.shape[:2], -1), (*scaled.shape[:2], 3))
