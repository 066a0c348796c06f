"""Data sets for demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedstream.errors import PlatformError, UsageError, install_hint
from fedstream.stream.files import open_npz


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
