"""Arrays that travel beside the weights: out with the global model, and back in a client's update, where their names have a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fedstream.record.weights import Weights

EXTRA = "extra//"
"""Prefix of such an array in an update. No Keras variable can have it: neither layers nor variables have an empty name."""


class ArraySpec(NamedTuple):
    """What an array must be.

    Attributes:
        shape: its dimensions.
        dtype: numpy's name of its type.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def spec_of(array: np.ndarray) -> ArraySpec:
    """Return what an array is."""
    return ArraySpec(array.shape, str(array.dtype))


def join(weights: Mapping[str, np.ndarray], extras: Mapping[str, np.ndarray]) -> Weights:
    """Return the content of an update: weights, and extra arrays under their prefix."""
    return {**weights, **{f"{EXTRA}{name}": array for name, array in extras.items()}}


def split(arrays: Mapping[str, np.ndarray]) -> tuple[Weights, Weights]:
    """Return the weights and the extra arrays in an update."""
    weights = {name: array for name, array in arrays.items() if not name.startswith(EXTRA)}
    return weights, {name.removeprefix(EXTRA): array for name, array in arrays.items() if name.startswith(EXTRA)}


def why_not(expected: Mapping[str, ArraySpec], arrays: Mapping[str, np.ndarray], what: str, whole: str) -> str:
    """Return what is wrong with some arrays, or an empty string: names, shapes, dtypes, and numbers that are not finite.

    Args:
        expected: what they must be.
        arrays: what they are.
        what: what one of them is called, such as `variable`.
        whole: where all of them are expected, such as `the global model`.
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
    if array.dtype != expected.dtype:
        return f"{name} has dtype {array.dtype}, expected {expected.dtype}"
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)]
        return f"{name} has {bad.size} values that are not finite (first: {bad.flat[0]})"
    return ""
