"""The data set of a simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fedstream.errors import UsageError
from fedstream.local.datasets import load_dataset
from fedstream.stream.columns import is_text, number_classes
from fedstream.stream.files import open_npz

Array = NDArray[Any]

PAIRS = (("x_train", "y_train"), ("x", "y"))
"""Names of the arrays of samples and labels in an .npz file."""

MODELS = {64: "builtin:digits-mlp", 784: "builtin:mnist-2nn"}
"""Number of values of a sample -> the built-in model for it."""


@dataclass(frozen=True)
class Source:
    """Labelled records, before they are divided among clients.

    Attributes:
        x: Samples (n, ...).
        y: Labels (n, ...): class numbers, or numbers to predict.
        test: Samples and labels that measure every global model and that no client trains on; None for none.
        columns: Further values of the n records, by name, such as the site of each record.
        features: Names of the columns of flat samples; empty for none.
        classes: Names of the classes 0, 1, ...; empty for none.
    """

    x: Array
    y: Array
    test: tuple[Array, Array] | None = None
    columns: dict[str, Array] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)

    @property
    def model(self) -> str:
        """Name of the built-in model for these samples.

        Raises:
            UsageError: There is none.
        """
        size = math.prod(self.x.shape[1:])
        if size not in MODELS:
            raise UsageError(f"no built-in model takes samples of shape {self.x.shape[1:]}; name a model with --model")
        return MODELS[size]

    def shaped(self, shape: Sequence[int]) -> Source:
        """Return the records with flat samples in the shape of a model's input, if they have as many values."""
        if self.x.ndim != 2 or self.x.shape[1] != math.prod(shape) or self.features:
            return self
        test = (self.test[0].reshape(-1, *shape), self.test[1]) if self.test else None
        return replace(self, x=self.x.reshape(-1, *shape), test=test)


def source_of(
    x: Array,
    y: Array,
    test: tuple[Array, Array] | None = None,
    columns: dict[str, Array] | None = None,
    features: list[str] | None = None,
) -> Source:
    """Return the data set with text labels as class numbers.

    Raises:
        UsageError: The arrays do not belong together.
    """
    for what, pair in (("", (x, y)), ("test ", test)):
        if pair and (len(pair[0]) != len(pair[1]) or not len(pair[0])):
            raise UsageError(
                f"there are {len(pair[0])} {what}samples and {len(pair[1])} {what}labels; "
                "their numbers must be equal, and at least 1"
            )
    if test and test[0].shape[1:] != x.shape[1:]:
        raise UsageError(f"the samples have shape {x.shape[1:]}, but the test samples have {test[0].shape[1:]}")
    classes: list[str] = []
    if is_text(y):
        y, classes = number_classes(y)
        test = (test[0], number_classes(test[1], classes)[0]) if test else None
    return Source(x, y, test, columns or {}, features or [], classes)


def read_source(dataset: str) -> Source:
    """Read `digits`, or an .npz file with x_train, y_train, and optionally x_test, y_test, or with x and y.

    Other arrays of the file with one value for each record can be the column of a partition.

    Raises:
        UsageError: The file cannot be used.
        PlatformError: scikit-learn, which has the digits, is not installed.
    """
    if dataset == "digits":
        digits = load_dataset(dataset)
        return source_of(digits.x_train, digits.y_train, (digits.x_test, digits.y_test))
    path = Path(dataset)
    try:
        with open_npz(path) as arrays:
            found = {name: arrays[name] for name in arrays}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"data set {dataset!r} cannot be used: {error}; use `digits`, or an .npz file of plain arrays"
        ) from error
    names = next((pair for pair in PAIRS if all(name in found for name in pair)), None)
    if names is None or not found[names[0]].ndim or not found[names[1]].ndim:
        raise UsageError(
            f"data set {dataset!r} has {', '.join(sorted(found)) or 'nothing'}; expected arrays x_train and y_train, "
            "and optionally x_test and y_test, or x and y"
        )
    x, y = (found.pop(name) for name in names)
    test = (found.pop("x_test"), found.pop("y_test")) if found.keys() >= {"x_test", "y_test"} else None
    columns = {name: value for name, value in found.items() if value.ndim == 1 and len(value) == len(y)}
    return source_of(x, y, test, columns)
