"""FedAdagrad (Reddi et al. 2021, arXiv 2003.00295, algorithm 2).

The server runs Adagrad, with the mean of the clients' changes as its gradient.
"""

from __future__ import annotations

from typing import ClassVar

from fedstream.aggregation.server_optimizer import Adaptive, Beta1, Optimizer, Rate, ServerOptimized, Tau


class FedAdagrad(ServerOptimized):
    """The server takes a step of Adagrad, whose step sizes only shrink, along the mean change of the clients."""

    paper: ClassVar[str] = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2"
    when: ClassVar[str] = "Gradients are sparse, and the run is long enough for the steps to become ever smaller."

    server_learning_rate: Rate = 0.1
    beta_1: Beta1 = 0.0
    tau: Tau = 0.001

    def optimizer_of_server(self) -> Optimizer:
        return Adaptive(self.server_learning_rate, self.beta_1, self.tau, lambda v, squares: v + squares)
