"""Arrays that travel beside the weights.

They go out with the global model and come back in a client's update, where their names have a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fedstream.record.weights import Weights

T = TypeVar("T")

EXTRA = "extra//"
"""Prefix of such an array in an update.

No Keras variable can have this prefix, because neither layers nor variables have empty names.
"""


class ArraySpec(NamedTuple):
    """The required shape and type of an array.

    Attributes:
        shape: dimensions of the array.
        dtype: numpy's name for the type.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def spec_of(array: np.ndarray) -> ArraySpec:
    """Return the shape and type of an array."""
    return ArraySpec(array.shape, _name(array.dtype))


def join(weights: Mapping[str, np.ndarray], extras: Mapping[str, np.ndarray]) -> Weights:
    """Return the content of an update: the weights, and the extra arrays under their prefix."""
    return {**weights, **prefixed(EXTRA, extras)}


def split(arrays: Mapping[str, np.ndarray]) -> tuple[Weights, Weights]:
    """Return the weights and the extra arrays of an update."""
    weights = {name: array for name, array in arrays.items() if not name.startswith(EXTRA)}
    return weights, unprefixed(EXTRA, arrays)


def prefixed(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Return arrays, or what is required of them, under names with a prefix."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def unprefixed(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Return those arrays whose names have a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def why_not(expected: Mapping[str, ArraySpec], arrays: Mapping[str, np.ndarray], what: str, whole: str) -> str:
    """Return what is wrong with some arrays, or an empty string.

    The check covers names, shapes, dtypes and values that are not finite.

    Args:
        expected: required shapes and types.
        arrays: the arrays to check.
        what: term for one array, such as `variable`.
        whole: where the arrays are expected, such as `the global model`.
    """
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing:
        return f"{what} {missing[0]!r} is missing ({len(missing)} in all)"
    if extra:
        return f"{what} {extra[0]!r} is not in {whole} ({len(extra)} in all)"
    return next(
        (
            problem
            for name in sorted(expected)
            if (problem := _why_bad(expected[name], arrays[name], f"{what} {name!r}"))
        ),
        "",
    )


def _why_bad(expected: ArraySpec, array: np.ndarray, name: str) -> str:
    if array.shape != expected.shape:
        return f"{name} has shape {array.shape}, expected {expected.shape}"
    if _name(array.dtype) != expected.dtype:
        return f"{name} has dtype {array.dtype}, expected {expected.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)]
        return f"{name} has {bad.size} values that are not finite (first: {bad.flat[0]})"
    return ""


@cache
def _name(dtype: np.dtype[Any]) -> str:
    return str(dtype)
