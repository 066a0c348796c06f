"""FedProx (Li et al. 2018, arXiv 1812.06127): FedAvg on the server, and a proximal term at the clients."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedstream.aggregation.fedavg import FedAvg
from fedstream.record.local_rule import LocalRule, Proximal


class FedProx(FedAvg):
    """The mean of FedAvg; each client's loss has a term that keeps its weights near the global model's."""

    paper: ClassVar[str] = "Li et al. 2018, arXiv 1812.06127, equation 2 and algorithm 2"
    when: ClassVar[str] = (
        "The clients' records differ a lot, and more than one epoch per round makes FedAvg unstable, "
        "or some clients are too slow to finish all epochs: partial work is accepted."
    )

    mu: float = Field(
        0.01, ge=0, le=1_000, description="Weight of the proximal term, mu / 2 * ||w - w_global||^2; 0 is FedAvg."
    )

    def local_rule(self) -> LocalRule:
        return Proximal(self.mu)
