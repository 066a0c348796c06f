"""Aggregate with one library, and print what it took as JSON. benchmarks.aggregate starts this program.

    python -m benchmarks.aggregate_with LIBRARY METHOD FOLDER TURNS

It runs in the environment of the library, with arrays mapped from FOLDER, and needs nothing but numpy and the library.
Each turn first measures the lower bound, `sum += update` in float32, which only reads the updates.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import measure

CHECKED = 100_000
"""Elements whose result is kept, and computed again with the clients in reverse order."""

ATTACKERS = 10
"""One of this many clients is taken for hostile by Krum, and a tenth is trimmed at either end."""

Aggregate = Callable[[], Any]
"""Returns the aggregated array."""


def fedstream(method: str, base: np.ndarray, arrays: Sequence[np.ndarray], counts: Sequence[int]) -> Aggregate:
    """Return the work of fedstream."""
    from fedstream.aggregation.registry import make_strategy
    from fedstream.aggregation.updates import Update, Updates

    config = {"krum": {"byzantine": len(arrays) // ATTACKERS}, "trimmed mean": {"beta": 1 / ATTACKERS}}
    names = {"mean": "FedAvg", "median": "FedMedian", "trimmed mean": "FedTrimmedAvg", "krum": "Krum"}
    strategy = make_strategy(names.get(method, method), config.get(method, {}))
    updates = Updates(
        Update(f"{number:03}", count, {"w": array})
        for number, (array, count) in enumerate(zip(arrays, counts, strict=True))
    )
    return lambda: strategy.aggregate({"w": base}, updates, {}).weights["w"]


def flower(method: str, base: np.ndarray, arrays: Sequence[np.ndarray], counts: Sequence[int]) -> Aggregate:
    """Return the work of Flower's functions. FedAdam reads serialised updates, as Flower receives them."""
    from flwr.server.strategy import aggregate

    results = [([array], count) for array, count in zip(arrays, counts, strict=True)]
    if method == "FedAdam":
        return _flower_adam(base, results)
    return {
        "mean": lambda: aggregate.aggregate(results)[0],
        "median": lambda: aggregate.aggregate_median(results)[0],
        "trimmed mean": lambda: aggregate.aggregate_trimmed_avg(results, 1 / ATTACKERS)[0],
        "krum": lambda: aggregate.aggregate_krum(results, len(arrays) // ATTACKERS, 0)[0],
    }[method]


def _flower_adam(base: np.ndarray, results: list[Any]) -> Aggregate:
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.server.strategy import FedAdam

    sent: Any = [
        (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), count, {})) for arrays, count in results
    ]

    def work() -> np.ndarray:
        strategy = FedAdam(initial_parameters=ndarrays_to_parameters([base]), tau=0.001)
        made, _ = strategy.aggregate_fit(1, sent, [])
        return parameters_to_ndarrays(made)[0]

    return work


def nvflare(method: str, base: np.ndarray, arrays: Sequence[np.ndarray], counts: Sequence[int]) -> Aggregate:
    """Return the work of NVFlare, which has the mean."""
    from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

    def work() -> Any:
        helper = WeightedAggregationHelper()
        for number, (array, count) in enumerate(zip(arrays, counts, strict=True)):
            helper.add({"w": array}, count, str(number), 0)
        return helper.get_result()["w"]

    return work


LIBRARIES = {"fedstream": fedstream, "Flower": flower, "NVFlare": nvflare}


def main(library: str, method: str, folder: Path, turns: int) -> dict[str, Any]:
    """Return what the work took in each turn, and how many of the checked elements depend on the clients' order."""
    make, base = LIBRARIES[library], np.load(folder / "base.npy", mmap_mode="r")
    arrays = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("update-*.npy"))]
    counts = np.load(folder / "counts.npy").tolist()

    def floor() -> None:
        total = np.zeros_like(base)
        for array in arrays:
            total += array

    work = make(method, base, arrays, counts)
    floor()  # maps the pages
    floors, taken = [], []
    for _ in range(turns):
        floors.append(measure(floor))
        taken.append(measure(work))
    few, first = base[:CHECKED], [array[:CHECKED] for array in arrays]
    made = np.asarray(make(method, few, first, counts)())
    again = np.asarray(make(method, few, first[::-1], counts[::-1])())
    bits = f"u{made.itemsize}"
    np.save(folder / "result.npy", made)
    return {
        "seconds": [one.seconds for one in taken],
        "cpu_seconds": [one.cpu_seconds for one in taken],
        "memory_mib": max(0, *(one.memory_kib - base.nbytes // 1024 for one in taken)) / 1024,
        "floor_seconds": [one.seconds for one in floors],
        "floor_cpu_seconds": [one.cpu_seconds for one in floors],
        "depend_on_order": float(np.mean(made.view(bits) != again.view(bits))),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
