"""Python's numbers and texts, as other libraries decode them, to NumPy arrays without a change of value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError


def to_array(values: Sequence[Any], dtype: np.dtype[Any], booleans: bool = False) -> NDArray[Any]:
    """Return values (n,) of a dtype. All of them are checked at once, because a slice has millions.

    Args:
        values: Numbers, or texts for the dtype object.
        dtype: Dtype to return.
        booleans: Whether true and false are also the numbers 1 and 0.

    Raises:
        RecordError: A value is of another type, or is not in the range of the dtype. The message describes the value
            without revealing it.
    """
    expected, kinds = _expected(dtype, booleans)
    if odd := set(map(type, values)) - kinds:
        names = sorted("missing or null" if kind is type(None) else f"a {kind.__name__}" for kind in odd)
        raise RecordError(f"is {names[0]}, expected {expected}")
    if dtype.kind == "f":
        return _floats(values, dtype)
    return _whole(values, dtype) if dtype.kind in "iu" else np.array(values, dtype)


def _expected(dtype: np.dtype[Any], booleans: bool) -> tuple[str, set[type]]:
    if dtype.kind == "O":
        return "text", {str}
    if dtype.kind == "b":
        return "true or false", {bool}
    return "a number", {int, float, bool} if booleans else {int, float}


def _floats(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        wide = np.array(values, np.float64)
    except OverflowError as error:  # an integer of more than 308 digits
        raise RecordError(f"is out of range for {dtype.name}") from error
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype, copy=False)
    if (np.isinf(narrow) & np.isfinite(wide)).any():
        raise RecordError(f"is out of range for {dtype.name}")
    return narrow


def _whole(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if float in set(map(type, values)):
        if any(type(value) is float and not value.is_integer() for value in values):
            raise RecordError(f"has a fraction, expected {dtype.name}")
        values = list(map(int, values))
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise RecordError(f"is out of range for {dtype.name}") from error
