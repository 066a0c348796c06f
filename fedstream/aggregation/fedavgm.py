"""FedAvgM (Hsu et al. 2019, arXiv 1909.06335, section 3.4): FedAvg with momentum at the server."""

from __future__ import annotations

from typing import ClassVar

from fedstream.aggregation.server_optimizer import Decay, Momentum, Nesterov, Optimizer, Rate, ServerOptimized


class FedAvgM(ServerOptimized):
    """The mean change of the clients feeds a momentum at the server, along which the global model moves."""

    paper: ClassVar[str] = "Hsu et al. 2019, arXiv 1909.06335"
    when: ClassVar[str] = "The clients' classes differ a lot, and FedAvg swings from round to round."

    server_learning_rate: Rate = 1.0
    momentum: Decay = 0.9
    nesterov: Nesterov = False

    def optimizer_of_server(self) -> Optimizer:
        return Momentum(self.server_learning_rate, self.momentum, self.nesterov)
