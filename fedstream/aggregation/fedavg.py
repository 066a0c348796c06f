"""FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): the weighted mean, correctly rounded, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np

from fedstream.aggregation.rounding import rounded_means
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import BLOCK, Updates
from fedstream.errors import UpdateError
from fedstream.record.weights import Weights

THREADS = 2
"""Blocks at once. numpy releases the interpreter's lock, and two cores use nearly all of the memory's bandwidth."""


class FedAvg(Strategy):
    """The new global model is the mean of the updates, weighted by their examples."""

    paper: ClassVar[str] = "McMahan et al. 2017, arXiv 1602.05629, algorithm 1"
    when: ClassVar[str] = "The first choice: it has no parameters, and every client's records count the same."
    of_mean: ClassVar[bool] = True

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        return Aggregated(federated_average(updates.weighted))


def federated_average(
    updates: Sequence[tuple[int, Mapping[str, np.ndarray]]], threads: int = THREADS
) -> dict[str, np.ndarray]:
    """Return the mean of the updates, weighted by their examples.

    Each element of a float16, float32 or float64 variable is the exact mean, rounded once (to nearest, ties to even),
    so the order of the updates does not matter and nothing overflows or cancels. Integer and boolean variables, which
    are equal in all valid updates, are passed on. Beside the updates, which can be mapped from files, and the mean
    itself, the function needs the memory of a few blocks.

    Args:
        updates: (num_examples, weights) of each client, in canonical (sorted client) order, with at least 1 example and
            finite values; all with the same names, shapes and dtypes.
        threads: blocks processed at once; the mean does not depend on it.

    Raises:
        UpdateError: there is no update.
    """
    if not updates:
        raise UpdateError("there is no update to average; at least one client must send one")
    divisor = math.gcd(*(count for count, _ in updates))
    counts = [count // divisor for count, _ in updates]
    with ThreadPoolExecutor(threads) as pool:
        return {
            name: _average([weights[name] for _, weights in updates], counts, pool, threads) for name in updates[0][1]
        }


def _average(values: Sequence[np.ndarray], counts: Sequence[int], pool: ThreadPoolExecutor, threads: int) -> np.ndarray:
    if not np.issubdtype(values[0].dtype, np.floating):
        return values[0].copy()
    flat = [value.reshape(-1) for value in values]
    mean = np.empty_like(flat[0])

    def fill(first: int) -> None:
        for start in range(first, mean.size, threads * BLOCK):
            block = slice(start, start + BLOCK)
            mean[block] = mean_of_block([value[block] for value in flat], counts)

    starts = range(0, min(mean.size, threads * BLOCK), BLOCK)
    for _ in pool.map(fill, starts) if len(starts) > 1 else map(fill, starts):
        pass
    return mean.reshape(values[0].shape)


def mean_of_block(values: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Return the exact weighted mean of each element, rounded once.

    A float64 sum and a bound of its error suffice, except for the few elements that the error could round differently.

    Args:
        values: of each update, one-dimensional, of one length and one floating dtype; all finite.
        counts: weight of each update, at least 1.
    """
    if values[0].dtype == np.float64:
        return rounded_means(values, counts, np.arange(values[0].size))
    mean, error = _plain_mean(values, counts)
    with np.errstate(over="ignore"):
        low: np.ndarray = (mean - error).astype(values[0].dtype)
        high: np.ndarray = (mean + error).astype(values[0].dtype)
    bits = f"u{low.itemsize}"  # 0.0 and -0.0 are equal, but their bits are not
    doubtful = np.flatnonzero(low.view(bits) != high.view(bits))
    if doubtful.size:
        low[doubtful] = rounded_means(values, counts, doubtful)
    return low


def _plain_mean(values: Sequence[np.ndarray], counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean in float64, and a bound of its error.

    None of the n + 4 roundings (products, sums, N, the division) is larger than 2**-53 of the sum of absolute values.
    Slightly more than twice that also covers the roundings of the bound itself.
    """
    sums, sizes, product = np.full(values[0].size, -0.0), np.zeros(values[0].size), np.empty(values[0].size)
    for value, count in zip(values, counts, strict=True):
        np.copyto(product, value)
        product *= count
        sums += product
        np.abs(product, out=product)
        sizes += product
    total = float(sum(counts))
    sizes *= (len(values) + 8) * 2.0**-52 / total
    sums /= total
    return sums, sizes
