"""Data sets for demonstrations, and functions to divide their records among clients. Pure except for reading files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedstream.errors import PlatformError, UsageError, install_hint
from fedstream.stream.files import open_npz

Partition = Literal["iid", "shards", "dirichlet"]

SHARDS_PER_CLIENT = 2
"""As in McMahan et al. 2017: the records are sorted by label, and each client gets two shards."""

DIRICHLET_ALPHA = 0.5
"""As in Hsu et al. 2019 (arXiv 1909.06335): the smaller the value, the fewer classes a client sees."""


@dataclass(frozen=True)
class Dataset:
    """A labelled data set.

    Attributes:
        x_train: Training samples of shape (n, ...) and any numeric dtype.
        y_train: Class numbers of shape (n,).
        x_test: Test samples of shape (m, ...).
        y_test: Class numbers of shape (m,).
        model: Name of the built-in model that fits the samples.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    model: str


def load_dataset(name: str) -> Dataset:
    """Load `digits` (scikit-learn's 8 x 8 images), or an .npz file with 28 x 28 images.

    Raises:
        UsageError: The file does not exist or lacks an array.
        PlatformError: scikit-learn is not installed.
    """
    return _digits() if name == "digits" else _npz(Path(name))


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise PlatformError(
            f"the digits are part of scikit-learn, which is not installed; {install_hint('local')}"
        ) from error
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.images[order].astype(np.float32), digits.target[order].astype(np.uint8)
    split = len(y) * 4 // 5
    return Dataset(x[:split], y[:split], x[split:], y[split:], "builtin:digits-mlp")


def _npz(path: Path) -> Dataset:
    try:
        with open_npz(path) as arrays:
            found = {name: arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"data set {str(path)!r} cannot be used: {error}; pass `digits`, or an .npz file with x_train, "
            "y_train, x_test, y_test"
        ) from error
    x_train, x_test = (
        found[name].reshape(-1, 28, 28) if found[name][0].size == 28 * 28 else found[name]
        for name in ("x_train", "x_test")
    )
    if x_train.shape[1:] != (28, 28):
        raise UsageError(
            f"data set {str(path)!r} has samples of shape {x_train.shape[1:]}, "
            "but the demo's built-in model requires (28, 28); "
            "use `fedstream stream send` and your own model"
        )
    return Dataset(x_train, found["y_train"], x_test, found["y_test"], "builtin:mnist-2nn")


def deal(labels: np.ndarray, clients: int, partition: Partition, seed: int = 0) -> list[np.ndarray]:
    """Divide records among clients and return the indices of each client's records, shuffled.

    The clients' records are disjoint and cover the data set.

    Args:
        labels: Class numbers of shape (n,).
        clients: Number of clients, at most n.
        partition: `iid` for an even random split, `shards` for shards of sorted labels, or `dirichlet` for a Dirichlet
            draw for each class.
        seed: Seed of the random generator.

    Raises:
        UsageError: There are fewer records than clients.
    """
    if clients > len(labels):
        raise UsageError(f"{len(labels)} records cannot be divided among {clients} clients; use fewer clients")
    rng = np.random.default_rng(seed)
    dealt = {"iid": _iid, "shards": _shards, "dirichlet": _dirichlet}[partition](labels, clients, rng)
    return [rng.permutation(indices) for indices in dealt]


def _iid(labels: np.ndarray, clients: int, rng: np.random.Generator) -> list[np.ndarray]:
    return np.array_split(rng.permutation(len(labels)), clients)


def _shards(labels: np.ndarray, clients: int, rng: np.random.Generator) -> list[np.ndarray]:
    shards = np.array_split(np.argsort(labels, kind="stable"), clients * SHARDS_PER_CLIENT)
    order = rng.permutation(len(shards)).reshape(clients, SHARDS_PER_CLIENT)
    return [np.concatenate([shards[shard] for shard in own]) for own in order]


def _dirichlet(labels: np.ndarray, clients: int, rng: np.random.Generator) -> list[np.ndarray]:
    dealt: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        cuts = (np.cumsum(rng.dirichlet([DIRICHLET_ALPHA] * clients))[:-1] * len(indices)).astype(int)
        for own, part in zip(dealt, np.split(indices, cuts), strict=True):
            own.append(part)
    return [np.concatenate(own) for own in dealt]
