"""FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): the weighted mean, correctly rounded, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from fedstream.aggregation.parallel import THREADS, in_order
from fedstream.aggregation.rounding import rounded_means
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import Place, Updates, as_sent, reader
from fedstream.errors import UpdateError
from fedstream.record.weights import Weights

AVERAGED = 65_536
"""Elements that a thread averages at once. With fewer, threads wait for each other's turn at the interpreter."""

GATHERED = 1024
"""Elements whose values of all clients are brought together at once."""

LARGEST_EXACT = 2**28
"""Largest sum of counts whose product with a tie between two float32 values, which has 25 bits, is exact."""


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
        Place(name, slice(start, start + AVERAGED))
        for name in floating
        for start in range(0, flat[name].size, AVERAGED)
    )
    small = sum(array.size for array in flat.values()) <= AVERAGED
    for _ in in_order(fill, places, 1 if small else threads):  # starting threads takes longer than a small mean
        pass
    return {name: flat[name].reshape(array.shape) if name in flat else array.copy() for name, array in sent.items()}


def mean_of_block(values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Return the exact weighted mean of each element, rounded once.

    A float64 sum and a bound of its error suffice, except for the few elements that the error could round differently.
    One bound for the whole block rules out nearly all elements, and a closer look at the others most of them.

    Args:
        values: of each update, one-dimensional, of one length and one floating dtype; all finite. A two-dimensional
            array with a row for each update is the fastest if all counts are 1.
        counts: weight of each update, at least 1.
    """
    dtype, total = values[0].dtype, sum(counts)
    if len(values) == 1:
        return values[0].copy()
    if dtype == np.float64:
        return rounded_means(list(values), counts, np.arange(values[0].size))
    sums, error = _plain_sums(values, counts)
    mean = sums / total
    with np.errstate(over="ignore"):
        rounded: np.ndarray = mean.astype(dtype)
    doubtful = _doubtful(mean, error / total, dtype)
    if doubtful.size:
        doubtful = _undecided(values, counts, doubtful, sums[doubtful])
    if doubtful.size:
        rounded[doubtful] = rounded_means(list(values), counts, doubtful)
    return rounded


def _plain_sums(values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, float]:
    """Return the sums in float64, and a bound of the error of each element, also after the division by N."""
    if isinstance(values, np.ndarray) and set(counts) == {1}:
        largest = float(max(values.max(), -values.min()))
        return values.sum(axis=0, dtype=np.float64, initial=-0.0), _error(len(values)) * largest * len(values)
    sums, product, size = np.full(values[0].size, -0.0), np.empty(values[0].size), 0.0
    for value, count in zip(values, counts, strict=True):
        np.copyto(product, value)
        if count != 1:
            product *= count
        sums += product
        size += count * float(max(value.max(), -value.min()))
    return sums, _error(len(values)) * size


def _error(updates: int) -> float:
    """Return a bound of the error of a plain sum and of its division, as a multiple of the sum of absolute values.

    None of the n + 4 roundings (products, sums, N, the division) is larger than 2**-53 of that sum. Slightly more than
    twice that also covers the roundings of the bound itself.
    """
    return (updates + 8) * 2.0**-52


def _doubtful(mean: np.ndarray, error: float | np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the indices of the means that the error could round differently."""
    with np.errstate(over="ignore"):
        low, high = (mean - error).astype(dtype), (mean + error).astype(dtype)
    bits = f"u{dtype.itemsize}"  # 0.0 and -0.0 are equal, but their bits are not
    return np.flatnonzero(low.view(bits) != high.view(bits))


def _undecided(
    values: Sequence[np.ndarray] | np.ndarray, counts: Sequence[int], columns: np.ndarray, sums: np.ndarray
) -> np.ndarray:
    """Return the columns whose mean neither a bound of their own nor an exact sum rounds for certain.

    All products are multiples of the spacing of the smallest value. Where the sum of their absolute values has at most
    52 bits in that unit, no addition rounds. The quotient of an exact sum is on the right side of a tie of the dtype,
    or is the tie itself; then it has so few bits that the test of the quotient is exact. With few clients or equal
    counts, such ties are frequent: one in two medians of two values is one.
    """
    left, weights, total = [], np.array(counts, np.float64)[:, np.newaxis], sum(counts)
    half = np.finfo(values[0].dtype).max / 2  # the largest value has no spacing
    for at in range(0, columns.size, GATHERED):
        some, plain = columns[at : at + GATHERED], sums[at : at + GATHERED]
        gathered = np.abs(np.array([value[some] for value in values]))
        sizes = (gathered * weights).sum(axis=0)
        gathered[gathered == 0] = half
        exact = sizes <= 2.0**52 * np.spacing(np.minimum(gathered.min(axis=0), half)).astype(np.float64)
        mean = plain / total
        certain = exact & (mean * total == plain) & (total <= LARGEST_EXACT)
        doubtful = _doubtful(mean, sizes * (_error(len(values)) / total), values[0].dtype)
        left.append(some[doubtful[~certain[doubtful]]])
    return np.concatenate(left)
