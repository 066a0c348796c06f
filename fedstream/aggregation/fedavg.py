"""Stage 2: the weighted mean of FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fedstream.errors import UpdateError


def federated_average(updates: Iterable[tuple[int, Mapping[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Return the mean of the updates, weighted by their examples.

    Each product and sum is float64 and each element is rounded once, at the end, to its own dtype: the products of float32 weights and counts below
    2**29 are exact, so only the float64 sums round, 2**29 times finer than the result. One update is held at a time, so an iterable that loads
    lazily needs two models' memory. Integer and boolean variables, equal in all valid updates, are passed on.

    Args:
        updates: (num_examples, weights) of each client, in canonical (sorted client) order; all of the same names, shapes and dtypes.

    Raises:
        UpdateError: there is no update.
    """
    sums: dict[str, np.ndarray] = {}
    dtypes: dict[str, np.dtype] = {}
    total = 0
    for num_examples, weights in updates:
        total += num_examples
        for name, value in weights.items():
            if not np.issubdtype(value.dtype, np.floating):
                sums[name] = value
            elif name in sums:
                sums[name] += np.multiply(value, num_examples, dtype=np.float64)
            else:
                sums[name] = np.multiply(value, num_examples, dtype=np.float64)
            dtypes[name] = value.dtype
    if not total:
        raise UpdateError("there is no update to average; at least one client must send one")
    return {name: (value / total if np.issubdtype(dtypes[name], np.floating) else value).astype(dtypes[name]) for name, value in sums.items()}
