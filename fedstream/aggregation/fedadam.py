"""FedAdam (Reddi et al. 2021, arXiv 2003.00295, algorithm 2).

The server runs Adam, with the mean of the clients' changes as its gradient.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from fedstream.aggregation.fedavg import federated_average
from fedstream.aggregation.strategy import Aggregated, Strategy, is_optimized, total
from fedstream.aggregation.updates import BLOCK, Updates
from fedstream.record.weights import Weights

M, V = "m/", "v/"
"""Prefixes of the two moments in the server state."""


class FedAdam(Strategy):
    """The server takes a step of Adam, without bias correction, along the mean change of the clients."""

    paper: ClassVar[str] = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2"
    when: ClassVar[str] = (
        "FedAvg learns slowly: gradients are sparse or of very different sizes, as with embeddings and text."
    )
    of_mean: ClassVar[bool] = True

    server_learning_rate: float = Field(0.1, gt=0, le=1_000, description="Step size of the server, eta in the paper.")
    beta_1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta_2: float = Field(0.99, ge=0, lt=1, description="Decay of the second moment.")
    tau: float = Field(
        0.001,
        gt=0,
        le=1,
        description="Adaptivity: added to the root of the second moment, which starts at tau squared.",
    )

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the new model and both moments.

        The pseudo-gradient is the exact weighted mean, rounded to the model's dtype, minus the base. From there
        on, each element is computed independently in float64 and rounded once, so the result does not depend on the
        order of the clients or on the processor.
        """
        weights, moments, squares = federated_average(updates.weighted), {}, 0.0
        for name, mean in weights.items():
            if is_optimized(name, mean):
                m = state[M + name] if state else np.zeros(mean.shape, np.float32)
                v = state[V + name] if state else np.full(mean.shape, self.tau**2, np.float32)
                moments[M + name], moments[V + name] = np.empty_like(m), np.empty_like(v)
                squares += self._step(base[name], mean, (m, v), (moments[M + name], moments[V + name]))
        return Aggregated(weights, moments, {"pseudo_gradient_norm": float(np.sqrt(squares))})

    def _step(
        self, base: np.ndarray, mean: np.ndarray, old: tuple[np.ndarray, ...], new: tuple[np.ndarray, ...]
    ) -> float:
        """Take a step, and return the square of the pseudo-gradient's norm.

        The new weights replace the mean in place, and the new moments are filled in.
        """
        squares, x = 0.0, mean.reshape(-1)
        (m, v), (new_m, new_v), start = (
            (part.reshape(-1) for part in old),
            (part.reshape(-1) for part in new),
            base.reshape(-1),
        )
        with np.errstate(over="ignore", invalid="ignore"):  # the caller rejects an overflow, and names the variable
            for at in range(0, x.size, BLOCK):
                part = slice(at, at + BLOCK)
                before = start[part].astype(np.float64)
                delta = x[part] - before
                new_m[part] = self.beta_1 * m[part].astype(np.float64) + (1 - self.beta_1) * delta
                new_v[part] = self.beta_2 * v[part].astype(np.float64) + (1 - self.beta_2) * np.square(delta)
                x[part] = before + self.server_learning_rate * new_m[part].astype(np.float64) / (
                    np.sqrt(new_v[part].astype(np.float64)) + self.tau
                )
                squares += total(np.square(delta))
        return squares
