"""The types and shapes that announcements give, as NumPy's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.errors import AnnouncementError

DTYPES = {
    "half": np.float16,
    "float": np.float64,
    "float16": np.float16,
    "float32": np.float32,
    "double": np.float64,
    "float64": np.float64,
    "int": np.int64,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
    "bool_": np.bool_,
    "string": np.object_,
}
"""Kafka-ML's names of dtypes, including those that it infers.

`float` has 64 bits, as in NumPy. `string` is text, in arrays of Python's `str`.
"""

DIMENSIONS = 16
"""Maximum number of dimensions of a sample; Keras' layers accept up to five."""

VALUES = 4 * 1024**2
"""Maximum number of values in a sample, which is 32 MiB of float64. Kafka's default limit is 1 MiB per record."""


def dtype_of(config: Mapping[str, Any], field: str) -> np.dtype[Any]:
    """Return the dtype in a field of an input_config.

    Raises:
        AnnouncementError: The field does not contain the name of a dtype.
    """
    name = config.get(field)
    if not isinstance(name, str) or name not in DTYPES:
        raise AnnouncementError(f"input_config.{field}: {str(name)[:100]!r} is not one of {', '.join(DTYPES)}")
    return np.dtype(DTYPES[name])


def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype in announcements."""
    return "string" if dtype.kind in "OUT" else dtype.name


def layout_of(array: NDArray[Any], name: str) -> dict[str, str]:
    """Return the type and the shape of an array as an announcement contains them.

    Args:
        array: A sample or a label.
        name: Beginning of the names of the fields: `data` or `label`.

    Raises:
        AnnouncementError: It is an array of Python's objects other than text.
    """
    if array.dtype.kind == "O" and not all(isinstance(value, str) for value in array.ravel()):
        raise AnnouncementError(
            f"input_config.{name}_type: an array of objects has no type that can be announced; send numbers or text"
        )
    return {f"{name}_type": type_name(array.dtype), f"{name}_reshape": shape_text(array.shape)}


def shape_of(config: Mapping[str, Any], field: str) -> tuple[int, ...]:
    """Return the shape in a field of an input_config, such as "28 28".

    Raises:
        AnnouncementError: The field does not contain a shape, or one that is too large.
    """
    text = str(config.get(field, ""))
    parts = text.split()
    if not parts or not all(re.fullmatch("[1-9][0-9]{0,8}", part) for part in parts):
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} is not a shape; expected whole numbers such as '28 28'"
        )
    shape = tuple(map(int, parts))
    if len(shape) > DIMENSIONS or math.prod(shape) > VALUES:
        raise AnnouncementError(
            f"input_config.{field}: {text[:100]!r} has {len(shape)} dimensions and {math.prod(shape):,} values; "
            f"at most {DIMENSIONS} and {VALUES:,} make a record"
        )
    return shape


def label_shape_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a label, which is () for "1".

    Raises:
        AnnouncementError: label_reshape is not a shape.
    """
    shape = shape_of(config, "label_reshape")
    return () if shape == (1,) else shape


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as announcements spell it. The shape of a scalar is "1"."""
    return " ".join(map(str, shape)) or "1"


def listed(dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, str]:
    """Return the shape and the type of a sample in two columns of a table."""
    if dtype.names is None:
        return {"shape": " ".join(map(str, shape)), "type": type_name(dtype)}
    parts = [(name, dtype[name]) for name in dtype.names]
    return {
        "shape": "; ".join(f"{name} {shape_text(own.shape)}" for name, own in parts),
        "type": "; ".join(type_name(own.base) for _, own in parts),
    }


def described(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Return a type and a shape for people: `float32 28 28`, for several inputs `image uint8 28 28; age float32 1`."""
    if dtype.names is None:
        return f"{type_name(dtype)} {shape_text(shape)}"
    parts = ((name, dtype[name].base, dtype[name].shape) for name in dtype.names)
    return "; ".join(f"{name} {described(base, own)}" for name, base, own in parts)
