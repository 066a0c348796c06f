"""What a client's training receives. Pure numpy; must not know Kafka or TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """A client's records as arrays.

    Attributes:
        x: samples, shape (n, *input_shape), any numeric dtype.
        y: labels, shape (n,), (n, 1) or (n, *output_shape).
        held_out: shape (n,); true for records that are measured on and never trained on.
        unlabelled: samples without labels, shape (m, *input_shape); None where there are none.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    held_out: NDArray[np.bool_]
    unlabelled: NDArray[Any] | None = None
