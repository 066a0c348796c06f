"""Beside its results, a strategy needs the memory of some blocks, though the updates are many times as large."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from fedstream.aggregation.registry import BUILT_IN, make_strategy
from fedstream.aggregation.updates import Update, Updates
from fedstream.record.weights import to_bytes
from fedstream.store.mapped import map_weights

SIZE, CLIENTS = 1_000_000, 20
MODEL = 4 * SIZE

RESULTS = {"FedAdagrad": 5, "FedAdam": 5, "FedOpt": 5, "FedYogi": 5, "GeometricMedian": 2, "SCAFFOLD": 3}
"""Models that a strategy holds at once, of which one is the new one: adaptive server optimizers have two
moments, old and new, GeometricMedian has the point before and after a step, and SCAFFOLD has its
variates."""


@pytest.fixture(scope="module")
def updates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("updates")
    for number in range(CLIENTS):
        (folder / f"{number}").write_bytes(
            to_bytes({"w": np.random.default_rng(number).normal(size=SIZE).astype(np.float32)})
        )
    return Updates(
        Update(f"c{number}", number + 1, map_weights(folder / f"{number}", "test")) for number in range(CLIENTS)
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_mapped_updates_are_read_where_they_are_used(updates, name):
    base, strategy = {"w": np.zeros(SIZE, np.float32)}, make_strategy(name, {})
    extras = {key: np.ones(spec.shape, spec.dtype) for key, spec in strategy.local_rule().returns(base).items()}
    updates = Updates(replace(update, extras=extras) for update in updates)
    tracemalloc.start()
    try:
        strategy.aggregate(base, updates, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < RESULTS.get(name, 1) * MODEL + 3 * MODEL, f"{peak:,} bytes; the updates have {CLIENTS * MODEL:,}"


def test_who_copies_the_updates_is_found_out(updates):
    tracemalloc.start()
    try:
        copies = [np.array(update.weights["w"]) for update in updates]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak >= len(copies) * MODEL
