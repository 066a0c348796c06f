"""The input of a client's training. Pure NumPy; must not depend on Kafka or TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """A client's records as arrays.

    Attributes:
        x: Samples of shape (n, *input_shape) and any numeric dtype.
        y: Labels of shape (n,), (n, 1) or (n, *output_shape).
        held_out: Shape (n,); true for records that are used for evaluation and never for training.
        unlabelled: Samples without labels, of shape (m, *input_shape); None if there are none.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    held_out: NDArray[np.bool_]
    unlabelled: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        arrays = (self.x, self.y, self.held_out, self.unlabelled)
        return sum(array.nbytes for array in arrays if array is not None)
