"""FedAvg beside FedProx with stragglers, after the MNIST task of Li et al. 2018 (arXiv 1812.06127), section 5.

1,000 clients with two digits each and numbers of records that follow a power law, logistic regression, and 10 clients
in each round. A straggler finishes only some of the epochs. FedAvg leaves its update out; FedProx accepts it.

python -m benchmarks.stragglers mnist.npz [rounds]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstream.catalog.models import add_model
from fedstream.cli.output import print_table
from fedstream.local.datasets import load_dataset
from fedstream.local.inprocess import run_inprocess
from fedstream.local.logs import logged_to
from fedstream.local.partition import Indices
from fedstream.model.examples import Examples
from fedstream.model.learner import Learner, TrainingConfig, TrainResult
from fedstream.model.numpy_learner import SoftmaxModel
from fedstream.record.decision import measurements
from fedstream.record.documents import Manifest
from fedstream.record.weights import Weights
from fedstream.simulation.learners import OtherLearners
from fedstream.steps.context import Context
from fedstream.stream.send import send_dataset
from fedstream.worker.worker import Ask, LocalWorker, Refused

CLIENTS, ASKED, EPOCHS, BATCH, LEARNING_RATE = 1_000, 10, 20, 10, 0.03
"""Those of the paper."""

SHARES = (0.0, 0.5, 0.9)
STRATEGIES: dict[str, dict[str, Any]] = {
    "FedAvg, drops stragglers": {"strategy": "FedAvg"},
    "FedProx, mu 0": {"strategy": "FedProx", "strategy_config": {"mu": 0.0}},
    "FedProx, mu 1": {"strategy": "FedProx", "strategy_config": {"mu": 1.0}},
}


class StragglingWorker:
    """A worker whose stragglers finish from 1 to all but one of the epochs.

    The stragglers of a round, and how far they come, depend only on the round, so they are the same for each strategy.

    Args:
        context: The context in which the steps run.
        share: Fraction of the clients of each round that are stragglers.
    """

    def __init__(self, context: Context, share: float) -> None:
        self._context, self._share = context, share

    def update(self, ask: Ask) -> Manifest | Refused:
        """Train, for fewer epochs if the client is a straggler of this round."""
        epochs = self._epochs(self._context.run(ask.run).selection(ask.round).clients, ask.round)
        if ask.client not in epochs:
            return LocalWorker(self._context).update(ask)
        slower = OtherLearners(self._context.learners, partial(for_fewer_epochs, epochs[ask.client]))
        return LocalWorker(replace(self._context, learners=slower)).update(ask)

    def _epochs(self, asked: Sequence[str], round: int) -> dict[str, int]:
        """Return the number of epochs of each straggler."""
        rng = np.random.default_rng(round)
        slow = rng.permutation(asked)[: int(self._share * len(asked) + 0.5)]
        return {str(client): int(rng.integers(1, EPOCHS)) for client in slow}


def for_fewer_epochs(
    epochs: int, learner: Learner, weights: Weights, examples: Examples, config: TrainingConfig
) -> TrainResult:
    """Stop after some of the epochs, and say so, as at a deadline."""
    return replace(learner.train(weights, examples, replace(config, epochs=epochs)), epochs=epochs)


def deal_by_power_law(labels: NDArray[Any], clients: int, rng: np.random.Generator) -> list[Indices]:
    """Deal records so that client c has records of the classes c and c + 1 (modulo 10).

    Each client gets 5 records of both. The others of a class are divided in proportion to draws from a log-normal
    distribution, as in the program of the paper.
    """
    dealt: list[list[Indices]] = [[] for _ in range(clients)]
    for label in range(10):
        owners = [client for client in range(clients) if label in (client % 10, (client + 1) % 10)]
        indices, shares = rng.permutation(np.flatnonzero(labels == label)), rng.lognormal(0, 2, len(owners))
        sizes = 5 + (shares / shares.sum() * (len(indices) - 5 * len(owners))).astype(int)
        for client, own in zip(owners, np.split(indices, np.cumsum(sizes)), strict=False):
            dealt[client].append(own)
    return [np.concatenate(own) for own in dealt]


def main() -> None:
    """Print the table."""
    rounds, context = int(sys.argv[2]) if len(sys.argv) > 2 else 100, Context.in_memory()
    send_mnist(context, sys.argv[1])
    model = SoftmaxModel(input_shape=[784], classes=10, scale=1.0, learning_rate=LEARNING_RATE)
    add_model(context.store, "logistic", model.to_bytes())
    with logged_to(None):
        rows = [
            (name, *(accuracy(context, f"run-{number}-{share * 100:.0f}", share, strategy, rounds) for share in SHARES))
            for number, (name, strategy) in enumerate(STRATEGIES.items())
        ]
    head = ["strategy", *(f"{share:.0%} stragglers" for share in SHARES)]
    print_table(f"accuracy in the second half of {rounds} rounds, mean ± standard deviation", head, rows)


def send_mnist(context: Context, dataset: str) -> None:
    """Send the records, with each pixel standardised as in the program of the paper."""
    data, broker = load_dataset(dataset), context.brokers.at("")
    x, test = (pictures.reshape(-1, 784).astype(np.float32) for pictures in (data.x_train, data.x_test))
    mean, deviation = x.mean(axis=0), x.std(axis=0) + np.float32(0.001)
    for number, own in enumerate(deal_by_power_law(data.y_train, CLIENTS, np.random.default_rng(0))):
        client = f"client-{number:03}"
        send_dataset(broker, client, client, (x[own] - mean) / deviation, data.y_train[own])
    send_dataset(broker, "test", "test", (test - mean) / deviation, data.y_test)


def accuracy(context: Context, run: str, share: float, strategy: dict[str, Any], rounds: int) -> str:
    """Train, and return the accuracy on the test records in the second half of the rounds, as it varies a lot."""
    spec = {
        "run": run,
        "model": "logistic",
        "evaluation_topic": "test",
        "client_fraction": ASKED / CLIENTS,
        "validation_rate": 0.0,
        "rounds": rounds,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "outlier_bound": 0.0,
        "round_deadline_s": 86_400.0,  # so that no figure depends on how fast the machine is
        "publish": "never",
    }
    run_inprocess(spec | strategy, context=context, worker=partial(StragglingWorker, share=share))
    measured = measurements(context.run(run).ledger.commits(), "accuracy")
    values = [value for round, value in measured if round > rounds // 2]
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


if __name__ == "__main__":
    main()
