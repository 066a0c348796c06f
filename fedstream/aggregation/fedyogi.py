"""FedYogi (Reddi et al. 2021, arXiv 2003.00295, algorithm 2).

The server runs Yogi, with the mean of the clients' changes as its gradient.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedstream.aggregation.server_optimizer import Adaptive, Beta1, Beta2, Optimizer, Rate, ServerOptimized, Tau


class FedYogi(ServerOptimized):
    """The server takes a step of Yogi, whose step sizes change more slowly than Adam's, along the mean change."""

    paper: ClassVar[str] = "Reddi et al. 2021, arXiv 2003.00295, algorithm 2"
    when: ClassVar[str] = "FedAdam is unstable, because the sizes of the changes differ a lot from round to round."

    server_learning_rate: Rate = 0.1
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.99
    tau: Tau = 0.001

    def optimizer_of_server(self) -> Optimizer:
        beta = self.beta_2
        return Adaptive(
            self.server_learning_rate,
            self.beta_1,
            self.tau,
            lambda v, squares: v - (1 - beta) * squares * np.sign(v - squares),
        )
