"""FedAdam (Reddi et al. 2021, arXiv 2003.00295, algorithm 2).

The server runs Adam, with the mean of the clients' changes as its gradient.
"""

from __future__ import annotations

from typing import ClassVar

from fedstream.aggregation.server_optimizer import Adaptive, Beta1, Beta2, Optimizer, Rate, ServerOptimized, Tau


class FedAdam(ServerOptimized):
    """The server takes a step of Adam, without bias correction, along the mean change of the clients."""

    paper: ClassVar[str] = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2"
    when: ClassVar[str] = (
        "FedAvg learns slowly: gradients are sparse or of very different sizes, as with embeddings and text."
    )

    server_learning_rate: Rate = 0.1
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.99
    tau: Tau = 0.001

    def optimizer_of_server(self) -> Optimizer:
        beta = self.beta_2
        return Adaptive(
            self.server_learning_rate, self.beta_1, self.tau, lambda v, squares: beta * v + (1 - beta) * squares
        )
