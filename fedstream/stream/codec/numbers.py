"""Python's numbers and texts, as other libraries decode them, to NumPy arrays without a change of value."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import RecordError


def to_array(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values (n,) of a dtype; true and false are also the numbers 1 and 0.

    Args:
        values: Numbers, or texts for the dtype object.
        dtype: Dtype to return.

    Raises:
        RecordError: A value is of another type, or is not in the range of the dtype. The message describes the value
            without revealing it.
    """
    if dtype.kind in "fiu":
        code = "d" if dtype.kind == "f" else dtype.char
        try:  # Python's array takes numbers only, and no whole number that it cannot hold
            wide = np.frombuffer(array.array(code, values), np.dtype(code))
        except (TypeError, OverflowError):
            wide = _converted(values, dtype, code)
        return _narrow(wide, dtype) if dtype.kind == "f" else wide
    check_types(values, {str} if dtype.kind == "O" else {bool}, "text" if dtype.kind == "O" else "true or false")
    return np.array(values, dtype)


def _converted(values: Sequence[Any], dtype: np.dtype[Any], code: str) -> NDArray[Any]:
    """Convert values that Python's `array` does not take as they are, such as whole numbers that are written as 7.0."""
    check_types(values, {int, float, bool}, "a number")
    if dtype.kind in "iu" and any(type(value) is float and not value.is_integer() for value in values):
        raise RecordError(f"has a fraction, expected {dtype.name}")
    try:
        return np.frombuffer(array.array(code, map(float if dtype.kind == "f" else int, values)), np.dtype(code))
    except OverflowError as error:
        raise RecordError(f"is out of range for {dtype.name}") from error


def check_types(values: Sequence[Any], kinds: set[type], expected: str) -> None:
    """Check the types of values.

    Raises:
        RecordError: A value is of another type. The message does not reveal it.
    """
    if odd := set(map(type, values)) - kinds:
        names = sorted("missing or null" if kind is type(None) else f"a {kind.__name__}" for kind in odd)
        raise RecordError(f"is {names[0]}, expected {expected}")


def _narrow(wide: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return float64 in another dtype of floats."""
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype, copy=False)
    if (np.isinf(narrow) & np.isfinite(wide)).any():
        raise RecordError(f"is out of range for {dtype.name}")
    return narrow
