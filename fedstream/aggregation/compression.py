"""Compression of updates: what a client sends in place of its weights, and the weights that everyone reads in it. Pure.

The change of each parameter since the global model is compressed. What is lost is added to the client's next change
(error feedback; Seide et al. 2014; Karimireddy et al. 2019, arXiv 1901.09847, algorithm 2). Decoding is elementwise in
float64 and rounds once, so it gives the same bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Protocol

import numpy as np

from fedstream.aggregation.strategy import is_optimized
from fedstream.errors import CorruptObject, UpdateError
from fedstream.record.exchange import Exchange
from fedstream.record.extras import ArraySpec, join, spec_of, split, why_not
from fedstream.record.weights import Weights

LEVELS = 127
"""Largest magnitude of an int8 level; -128 is not used, so that the levels are symmetric."""


class Codec(Protocol):
    """A way to send the change of one variable as a few arrays, by role; the role "" has the variable's own name.

    Attributes:
        feedback: whether the client keeps what is lost, for its next update.
    """

    feedback: ClassVar[bool]

    def arrays(self, shape: tuple[int, ...]) -> dict[str, ArraySpec]:
        """Return the arrays for a variable of this shape."""
        ...

    def encode(self, change: np.ndarray) -> Weights:
        """Return the arrays for a change: float64, finite, of any shape."""
        ...

    def why_bad(self, arrays: Mapping[str, np.ndarray], size: int) -> str:
        """Return what is wrong with arrays that have the required shapes and types and are finite, or an empty string.

        Args:
            arrays: role -> array.
            size: number of values of the variable.
        """
        ...

    def decode(self, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        """Return the change that the arrays stand for: float64, of this shape."""
        ...


@dataclass(frozen=True)
class Float16:
    """Each change rounded to float16: half of the bytes, with 11 significant bits."""

    feedback: ClassVar[bool] = False

    def arrays(self, shape: tuple[int, ...]) -> dict[str, ArraySpec]:
        return {"": ArraySpec(shape, "float16")}

    def encode(self, change: np.ndarray) -> Weights:
        return {"": change.astype(np.float16)}

    def why_bad(self, arrays: Mapping[str, np.ndarray], size: int) -> str:
        return ""

    def decode(self, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        return arrays[""].astype(np.float64)


@dataclass(frozen=True)
class Int8:
    """Each change as one of 255 levels between -max and max of its variable: a quarter of the bytes."""

    feedback: ClassVar[bool] = True

    def arrays(self, shape: tuple[int, ...]) -> dict[str, ArraySpec]:
        return {"": ArraySpec(shape, "int8"), "scale": ArraySpec((), "float32")}

    def encode(self, change: np.ndarray) -> Weights:
        scale = np.float32(np.abs(change).max(initial=0.0) / LEVELS)
        levels = np.rint(change / np.float64(scale)) if scale > 0 else np.zeros_like(change)
        return {"": np.clip(levels, -LEVELS, LEVELS).astype(np.int8), "scale": np.array(scale)}

    def why_bad(self, arrays: Mapping[str, np.ndarray], size: int) -> str:
        scale = float(arrays["scale"])
        return f"has scale {scale:g}, expected at least 0" if scale < 0 else ""

    def decode(self, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        return arrays[""].astype(np.float64) * np.float64(arrays["scale"])


@dataclass(frozen=True)
class TopK:
    """The largest changes of each variable, and where they are; the others are not sent.

    Attributes:
        fraction: fraction of the values of a variable to send, rounded up to whole values.
    """

    fraction: float
    feedback: ClassVar[bool] = True

    def arrays(self, shape: tuple[int, ...]) -> dict[str, ArraySpec]:
        count = self._count(math.prod(shape))
        return {"indices": ArraySpec((count,), "uint32"), "values": ArraySpec((count,), "float32")}

    def encode(self, change: np.ndarray) -> Weights:
        flat = change.reshape(-1)
        count, sizes = self._count(flat.size), np.abs(flat)
        chosen = np.flatnonzero(sizes >= np.partition(sizes, -count)[-count]) if count else np.arange(0)
        if len(chosen) > count:  # of equal values, those that come first
            smallest = sizes[chosen].min()
            above, equal = chosen[sizes[chosen] > smallest], chosen[sizes[chosen] == smallest]
            chosen = np.sort(np.concatenate([above, equal[: count - len(above)]]))
        return {"indices": chosen.astype(np.uint32), "values": flat[chosen].astype(np.float32)}

    def why_bad(self, arrays: Mapping[str, np.ndarray], size: int) -> str:
        indices = arrays["indices"].astype(np.int64)
        if indices.size and indices.max() >= size:
            return f"has index {indices.max()}, but only {size} values"
        return "has indices that do not increase" if (np.diff(indices) <= 0).any() else ""

    def decode(self, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        change = np.zeros(math.prod(shape))
        change[arrays["indices"]] = arrays["values"]
        return change.reshape(shape)

    def _count(self, size: int) -> int:
        return math.ceil(Fraction(str(self.fraction)) * size)


def codec_of(exchange: Exchange) -> Codec | None:
    """Return how the updates of a run are compressed; None if they are not."""
    codecs: dict[str, Codec] = {"float16": Float16(), "int8": Int8(), "topk": TopK(exchange.fraction)}
    return codecs.get(exchange.compression)


def sent_arrays(codec: Codec | None, base: Mapping[str, np.ndarray]) -> dict[str, ArraySpec]:
    """Return the arrays that an update contains for the variables that travel.

    Args:
        codec: how updates are compressed; None if they are not.
        base: the variables of the global model that travel.
    """
    expected = dict[str, ArraySpec]()
    for name, array in base.items():
        if codec and _is_compressed(name, array):
            expected |= {_named(role, name): spec for role, spec in codec.arrays(array.shape).items()}
        else:
            expected[name] = spec_of(array)
    return expected


def residual_arrays(codec: Codec | None, base: Mapping[str, np.ndarray]) -> dict[str, ArraySpec]:
    """Return the arrays that a client keeps of what was lost; empty without error feedback."""
    if not codec or not codec.feedback:
        return {}
    return {name: ArraySpec(array.shape, "float32") for name, array in base.items() if _is_compressed(name, array)}


def compress(
    codec: Codec, base: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], residual: Mapping[str, np.ndarray]
) -> tuple[Weights, Weights]:
    """Return the arrays of an update, and what is lost and has to be added to the client's next update.

    Args:
        codec: how to compress.
        base: the variables of the global model that travel.
        weights: their values after training, all finite.
        residual: what was lost in the client's last update, float32; empty for nothing.

    Raises:
        UpdateError: a change is too large for the codec.
    """
    sent, lost = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for name, array in base.items():
        if not _is_compressed(name, array):
            sent[name] = weights[name]
            continue
        change = np.subtract(weights[name], array, dtype=np.float64) + residual.get(name, np.float32(0))
        with np.errstate(over="ignore"):
            arrays = codec.encode(change)
        if not all(np.isfinite(part).all() for part in arrays.values()):
            raise UpdateError(
                f"variable {name!r} changed by {np.abs(change).max():.4g}, too much for the run's compression; "
                "use a smaller learning rate, or none or int8 compression in a new run"
            )
        sent |= {_named(role, name): part for role, part in arrays.items()}
        if codec.feedback:
            lost[name] = np.asarray(change - codec.decode(arrays, change.shape), np.float32)
    return sent, lost


def decompress(codec: Codec, base: Mapping[str, np.ndarray], update: Mapping[str, np.ndarray]) -> Weights:
    """Return the weights that a compressed update stands for, with its extra arrays as they are.

    Args:
        codec: how the update was compressed.
        base: the variables of the global model that travel.
        update: what the client sent; anything.

    Raises:
        CorruptObject: the update does not have the arrays that this codec writes. The weights can still be infinite.
    """
    sent, extras = split(update)
    if problem := why_not(sent_arrays(codec, base), sent, "array", "the compressed update"):
        raise CorruptObject(problem)
    weights = {}
    for name, array in base.items():
        if not _is_compressed(name, array):
            weights[name] = sent[name]
            continue
        parts = {role: sent[_named(role, name)] for role in codec.arrays(array.shape)}
        if problem := codec.why_bad(parts, array.size):
            raise CorruptObject(f"variable {name!r} {problem}")
        with np.errstate(over="ignore"):
            weights[name] = np.asarray(array + codec.decode(parts, array.shape), array.dtype)
    return join(weights, extras)


def _is_compressed(name: str, array: np.ndarray) -> bool:
    """Tell whether a variable is compressed: a parameter of more than 16 bits.

    Moving statistics and integers are sent as they are, because a variance must not become negative.
    """
    return is_optimized(name, array) and array.itemsize > 2


def _named(role: str, name: str) -> str:
    """Return the name of an array in an update. No Keras variable has such a name: its parts are never empty."""
    return f"{role}//{name}" if role else name
