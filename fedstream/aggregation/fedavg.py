"""FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): the weighted mean, correctly rounded, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from fedstream.aggregation.parallel import THREADS, in_order
from fedstream.aggregation.rounding import rounded_means
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import BLOCK, Place, Updates, as_sent, reader
from fedstream.errors import UpdateError
from fedstream.record.weights import Weights


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
    sent = as_sent(updates[0][1])
    floating = [name for name, array in sent.items() if np.issubdtype(array.dtype, np.floating)]
    read = {name: [reader(weights, name) for _, weights in updates] for name in floating}
    flat = {name: np.empty(sent[name].size, sent[name].dtype) for name in floating}

    def fill(place: Place) -> None:
        flat[place.name][place.part] = mean_of_block([values(place.part) for values in read[place.name]], counts)

    places = (
        Place(name, slice(start, start + BLOCK)) for name in floating for start in range(0, flat[name].size, BLOCK)
    )
    for _ in in_order(fill, places, threads):
        pass
    return {name: flat[name].reshape(array.shape) if name in flat else array.copy() for name, array in sent.items()}


def mean_of_block(values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Return the exact weighted mean of each element, rounded once.

    A float64 sum and a bound of its error suffice, except for the few elements that the error could round differently.
    One bound for the whole block rules out nearly all elements, and a bound of their own most of the others.

    Args:
        values: of each update, one-dimensional, of one length and one floating dtype; all finite. A two-dimensional
            array with a row for each update is the fastest if all counts are 1.
        counts: weight of each update, at least 1.
    """
    dtype = values[0].dtype
    if dtype == np.float64:
        return rounded_means(list(values), counts, np.arange(values[0].size))
    mean, error = _plain_mean(values, counts)
    with np.errstate(over="ignore"):
        rounded: np.ndarray = mean.astype(dtype)
    doubtful = _doubtful(mean, error, dtype)
    if doubtful.size:
        own = _errors(values, counts, doubtful)
        doubtful = doubtful[_doubtful(mean[doubtful], own, dtype)]
    if doubtful.size:
        rounded[doubtful] = rounded_means(list(values), counts, doubtful)
    return rounded


def _doubtful(mean: np.ndarray, error: float | np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the indices of the means that the error could round differently."""
    with np.errstate(over="ignore"):
        low, high = (mean - error).astype(dtype), (mean + error).astype(dtype)
    bits = f"u{dtype.itemsize}"  # 0.0 and -0.0 are equal, but their bits are not
    return np.flatnonzero(low.view(bits) != high.view(bits))


def _plain_mean(values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, float]:
    """Return the mean in float64, and a bound of the error of each element."""
    if isinstance(values, np.ndarray) and set(counts) == {1}:
        sums = values.sum(axis=0, dtype=np.float64, initial=-0.0)
        return sums / len(values), _error(len(values)) * float(max(values.max(), -values.min()))
    sums, product, size = np.full(values[0].size, -0.0), np.empty(values[0].size), 0.0
    for value, count in zip(values, counts, strict=True):
        np.copyto(product, value)
        if count != 1:
            product *= count
        sums += product
        size += count * float(max(value.max(), -value.min()))
    total = float(sum(counts))
    sums /= total
    return sums, _error(len(values)) * size / total


def _errors(values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int], columns: np.ndarray) -> np.ndarray:
    """Return a bound of the error of some of the plain means, each from its own values."""
    sizes = np.zeros(columns.size)
    for value, count in zip(values, counts, strict=True):
        sizes += np.abs(value[columns], dtype=np.float64) * count
    return sizes * (_error(len(values)) / sum(counts))


def _error(updates: int) -> float:
    """Return a bound of the error of a plain mean, as a multiple of the mean of absolute values.

    None of the n + 4 roundings (products, sums, N, the division) is larger than 2**-53 of that mean. Slightly more than
    twice that also covers the roundings of the bound itself, whose values it sums in the same way.
    """
    return (updates + 8) * 2.0**-52
