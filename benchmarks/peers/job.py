"""The digits job, read from a file, and its training in numpy. Needs only numpy: it runs in every environment."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

LEARNING_RATE = 0.1
BATCH = 10
SIZES = (64, 64, 64, 10)


@dataclass
class Job:
    """The records of the clients, and the test records."""

    clients: list[tuple[np.ndarray, np.ndarray]]
    x_test: np.ndarray
    y_test: np.ndarray


def read_job(path: str) -> Job:
    with np.load(path) as data:
        owners = data["owner"]
        clients = [(data["x_train"][owners == name], data["y_train"][owners == name]) for name in np.unique(owners)]
        return Job(clients, data["x_test"], data["y_test"])


def initial(seed: int = 0) -> list[np.ndarray]:
    """Return kernels and biases as Keras initialises them (Glorot and zeros)."""
    rng, weights = np.random.default_rng(seed), []
    for before, after in pairwise(SIZES):
        limit = np.sqrt(6 / (before + after))
        weights += [rng.uniform(-limit, limit, (before, after)).astype(np.float32), np.zeros(after, np.float32)]
    return weights


def forward(weights: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Return the input and the output of each layer; the last one before softmax."""
    layers = [x.reshape(len(x), -1).astype(np.float32) / 16]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        inputs = np.maximum(layers[-1], 0) if len(layers) > 1 else layers[-1]
        layers.append(inputs @ kernel + bias)
    return layers


def train(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Train one epoch of SGD and return new weights."""
    weights = [value.copy() for value in weights]
    order = rng.permutation(len(y))
    for start in range(0, len(y), BATCH):
        batch = order[start : start + BATCH]
        layers = forward(weights, x[batch])
        powers = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
        error = powers / powers.sum(axis=1, keepdims=True)
        error[np.arange(len(batch)), y[batch]] -= 1
        error /= len(batch)
        for layer in reversed(range(len(SIZES) - 1)):
            inputs = np.maximum(layers[layer], 0) if layer else layers[layer]
            kernel = weights[2 * layer]
            below = (error @ kernel.T) * (layers[layer] > 0) if layer else None
            weights[2 * layer] = kernel - LEARNING_RATE * (inputs.T @ error)
            weights[2 * layer + 1] = weights[2 * layer + 1] - LEARNING_RATE * error.sum(axis=0)
            if below is not None:
                error = below
    return weights


def average(updates: list[list[np.ndarray]], counts: list[int]) -> list[np.ndarray]:
    """Return the mean of the updates, weighted by the number of records."""
    return [np.average(values, axis=0, weights=counts).astype(np.float32) for values in zip(*updates, strict=True)]


def accuracy(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(forward(weights, x)[-1].argmax(axis=1) == y))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tree_usage() -> tuple[float, float]:
    """Return the CPU seconds and the resident MiB of this process and all its descendants that still run."""
    parents, cpu, resident = {}, {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        number = int(stat.parent.name)
        parents[number] = int(fields[1])
        cpu[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        resident[number] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    own = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(cpu.get(number, 0.0) for number in own), sum(resident.get(number, 0.0) for number in own)


def report(run_round: Callable[[], float], rounds: int) -> None:
    """Run the rounds, and print the seconds and CPU seconds of each and the last accuracy as JSON."""
    wall, cpu, reached = [], [], 0.0
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        reached = run_round()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    print(json.dumps({"wall": wall, "cpu": cpu, "accuracy": reached, "peak_mib": peak_mib()}))
