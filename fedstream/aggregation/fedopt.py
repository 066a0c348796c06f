"""FedOpt (Reddi et al. 2021, arXiv 2003.00295, algorithm 1): FedAvg with any of the server optimizers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fedstream.aggregation.fedadagrad import FedAdagrad
from fedstream.aggregation.fedadam import FedAdam
from fedstream.aggregation.fedavgm import FedAvgM
from fedstream.aggregation.fedyogi import FedYogi
from fedstream.aggregation.server_optimizer import (
    Beta1,
    Beta2,
    Decay,
    Nesterov,
    Optimizer,
    Rate,
    ServerOptimized,
    Sgd,
    Tau,
)

STRATEGIES: dict[str, type[ServerOptimized]] = {
    "sgdm": FedAvgM,
    "adagrad": FedAdagrad,
    "adam": FedAdam,
    "yogi": FedYogi,
}
"""The strategy with the optimizer of each name."""


class FedOpt(ServerOptimized):
    """The server takes a step of the chosen optimizer along the mean change of the clients."""

    paper: ClassVar[str] = "Reddi et al. 2021, arXiv 2003.00295, algorithm 1"
    when: ClassVar[str] = (
        "Server optimizers are compared; parameters that the chosen optimizer does not have are ignored."
    )

    optimizer: Literal["sgd", "sgdm", "adagrad", "adam", "yogi"] = Field(
        "adam",
        description="Optimizer of the server: plain sgd, or that of FedAvgM (sgdm), FedAdagrad, FedAdam or FedYogi.",
    )
    server_learning_rate: Rate = 0.1
    momentum: Decay = 0.9
    nesterov: Nesterov = False
    beta_1: Beta1 = 0.9
    beta_2: Beta2 = 0.99
    tau: Tau = 0.001

    def optimizer_of_server(self) -> Optimizer:
        if self.optimizer == "sgd":
            return Sgd(self.server_learning_rate)
        strategy = STRATEGIES[self.optimizer]
        return strategy(**{name: getattr(self, name) for name in strategy.model_fields}).optimizer_of_server()
