"""FedTrimmedAvg (Yin et al. 2018, arXiv 1803.01498, definition 2): the coordinate-wise trimmed mean."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedstream.aggregation.fedavg import mean_of_block
from fedstream.aggregation.strategy import Aggregated, Strategy
from fedstream.aggregation.updates import BLOCK, Updates
from fedstream.record.weights import Weights

SORTED = 8 * BLOCK
"""Values of all clients that are sorted at once: 2 MiB of float64."""


class FedTrimmedAvg(Strategy):
    """Leaves out the largest and smallest values of each element; the new model is the unweighted mean of the rest."""

    paper: ClassVar[str] = "Yin et al. 2018, arXiv 1803.01498, definition 2"
    when: ClassVar[str] = (
        "Some clients can send wrong or hostile updates: up to the fraction beta of them can do little harm."
    )

    beta: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="Fraction of the updates to leave out at either end, rounded down to whole updates.",
    )

    def aggregate(self, base: Weights, updates: Updates, state: Weights) -> Aggregated:
        """Return the exact mean of the values that are kept, rounded once.

        Beside the model, this needs the memory of a few blocks.
        """
        clients = len(updates)
        trimmed = int(Fraction(str(self.beta)) * clients)  # 0.29 of 100 is 29; floats would give 28
        weights = {name: np.array(array) for name, array in base.items()}
        for block in updates.blocks(max(1, SORTED // clients)):
            values = np.stack(block.values, axis=1)
            # Turns -0.0 into 0.0: the two compare equal, so the order of the clients would decide which one is kept.
            values += 0.0
            values.sort(axis=1)
            kept = np.ascontiguousarray(values[:, trimmed : clients - trimmed].T)
            weights[block.name].reshape(-1)[block.part] = mean_of_block(list(kept), [1] * len(kept))
        return Aggregated(weights, {}, {"trimmed_updates": 2 * trimmed, "trimmed_share": 2 * trimmed / clients})
