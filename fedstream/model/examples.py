"""The input of a client's training. Pure NumPy; must not depend on Kafka or TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedstream.model.shuffle import orders


class Window(NamedTuple):
    """Records of an epoch that are in memory together.

    Attributes:
        x: Samples.
        y: Labels.
        order: Numbers of the samples in the order of training, int64; a multiple of the batch size unless `last`.
        last: Whether the epoch ends with these records.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    order: NDArray[np.int64]
    last: bool


@dataclass(frozen=True)
class Examples:
    """A client's records as arrays.

    Attributes:
        x: Samples of shape (n, *input_shape) and any numeric dtype.
        y: Labels of shape (n,), (n, 1) or (n, *output_shape).
        held_out: Shape (n,); true for records that are used for evaluation and never for training.
        unlabelled: Samples without labels, of shape (m, *input_shape); None if there are none.
        block: Number of records that shuffling moves together (see fedstream.model.shuffle); None to shuffle all
            records one by one.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    held_out: NDArray[np.bool_]
    unlabelled: NDArray[Any] | None = None
    block: int | None = None

    def count(self, *, held_out: bool) -> int:
        """Return the number of records that are held out, or of those that are trained on."""
        return int(np.count_nonzero(self.held_out == held_out))

    def parts(self, *, held_out: bool) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the samples and labels of these records, in their order, as they come into memory."""
        index = np.flatnonzero(self.held_out == held_out)
        yield self.x[index], self.y[index]

    def epochs(self, seed: int, epochs: int, batch_size: int) -> Iterator[Iterator[Window]]:
        """Yield the windows of each epoch.

        Args:
            seed: Seed of the order, in [0, 2**31).
            epochs: Number of epochs.
            batch_size: Number of records in a batch.
        """
        edges = np.arange(0, len(self.held_out) + self.block, self.block) if self.block else None
        for order in orders(np.flatnonzero(~self.held_out), seed, epochs, edges):
            yield iter([Window(self.x, self.y, order, True)])

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        arrays = (self.x, self.y, self.held_out, self.unlabelled)
        return sum(array.nbytes for array in arrays if array is not None)
