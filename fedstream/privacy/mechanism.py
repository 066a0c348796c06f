"""The Gaussian mechanism on the changes of clients, on a grid.

Each change is clipped to the norm C and truncated to multiples of a power of two, the grid, so the norm stays at most
C. The sum of the changes is exact. A normal number of the standard deviation z C, rounded to the grid, is added to
each element of the sum. Since the sum lies on the grid, that is the ideal real-valued mechanism followed by rounding,
so the bits of the result tell nothing more (Mironov 2012, "On significance of the least significant bits for
differential privacy"). Dividing, adding to the base and rounding to the model's dtype come after it and cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedstream.privacy.normals import Normals
from fedstream.record.sums import total
from fedstream.record.weights import Weights

FINER = 24
"""The grid is 2**-24 to 2**-25 of the noise's standard deviation.

So truncation costs next to nothing, and float64 has 28 more bits for the shape of the noise.
"""

SAFETY = 1.0 - 2.0**-40
"""Makes the norm of a clipped change at most C despite the roundings of its computation, which are below 2**-45."""

BLOCK = 32_768
"""Elements processed at once: a few float64 arrays of this size fit in a core's cache."""


def noised_mean(
    base: Weights,
    updates: Sequence[Mapping[str, np.ndarray]],
    clients: int,
    clip_norm: float,
    std: float,
    normals: Normals | None,
) -> Weights:
    """Return the base plus the mean of the clipped changes, with Gaussian noise.

    The mean is unweighted and over a fixed number of clients: one that sent nothing counts as no change. So what a
    client does moves the sum by at most `clip_norm`, whatever it holds (McMahan et al. 2018, arXiv 1710.06963,
    section 2, the fixed-denominator estimator with equal weights).

    Args:
        base: global model that the clients received; name -> array.
        updates: weights of each client, with the names, shapes and dtypes of the base, all finite.
        clients: number of clients that were asked, at least the number of updates.
        clip_norm: largest Euclidean norm of a client's change over all floating variables; C.
        std: standard deviation of the noise on each element of the sum; z C. On the mean, it is divided by `clients`.
        normals: the noise, consumed in the order of the variables' names; None for the mean without noise.

    Returns:
        Weights with the names, shapes and dtypes of the base. Integer variables are those of the base. Noise can make
        a moving variance negative, for which a model has no use, so it is at least 0.
    """
    grid = grid_of(std)
    scales = [_scale(base, update, clip_norm) for update in updates]
    mean = {name: base[name].copy() for name in sorted(base)}
    for name, part in _blocks(base):
        start = base[name].reshape(-1)[part].astype(np.float64)
        steps = np.zeros(start.size)
        for update, scale in zip(updates, scales, strict=True):
            if scale:
                steps += np.trunc((update[name].reshape(-1)[part].astype(np.float64) - start) * scale / grid)
        if normals:
            steps += np.rint(normals.take(start.size) * (std / grid))
        start += steps * grid / clients
        if name.rpartition("/")[2].startswith("moving_variance"):
            np.maximum(start, 0.0, out=start)
        mean[name].reshape(-1)[part] = start
    return mean


def grid_of(std: float) -> float:
    """Return the step of the grid for noise of this standard deviation: a power of two."""
    return math.ldexp(1.0, math.frexp(std)[1] - 1 - FINER)


def _scale(base: Weights, update: Mapping[str, np.ndarray], clip_norm: float) -> float:
    """Return the factor that clips a client's change; 0 for a change whose norm is beyond float64."""
    with np.errstate(over="ignore"):
        norm = math.sqrt(total(np.array([_square(base, update, name, part) for name, part in _blocks(base)])))
    return (1.0 if norm <= clip_norm * SAFETY else clip_norm * SAFETY / norm) if math.isfinite(norm) else 0.0


def _square(base: Weights, update: Mapping[str, np.ndarray], name: str, part: slice) -> float:
    one, other = update[name].reshape(-1)[part], base[name].reshape(-1)[part]
    return total(np.square(np.subtract(one, other, dtype=np.float64)))


def _blocks(base: Weights) -> Iterator[tuple[str, slice]]:
    for name in sorted(base):
        if np.issubdtype(base[name].dtype, np.floating):
            for start in range(0, base[name].size, BLOCK):
                yield name, slice(start, min(start + BLOCK, base[name].size))
