"""Apple's pfl: its simulated backend with the training in numpy, and the test records measured after each round."""

from __future__ import annotations

import json
import logging
import sys
import time

import numpy as np
from job import accuracy, initial, peak_mib, read_job, train

try:
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import FederatedAlgorithm
    from pfl.common_types import Population
    from pfl.context import CentralContext
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import AlgorithmHyperParams, ModelHyperParams
    from pfl.metrics import Metrics
    from pfl.model.base import Model
    from pfl.stats import MappedVectorStatistics
except ImportError as error:
    print(json.dumps({"skipped": f"pfl is not installed ({error})"}))
    sys.exit()


class Mlp(Model):
    """The weights."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        self.weights = weights

    def apply_model_update(self, statistics):  # type: ignore[no-untyped-def]
        return Mlp([statistics[str(number)] for number in range(len(self.weights))]), Metrics()


class Averaging(FederatedAlgorithm):
    """FedAvg over weights, with the records as their weight."""

    def __init__(self, rounds: int, clients: int) -> None:
        super().__init__()
        self.rounds, self.clients = rounds, clients

    def get_next_central_contexts(self, model, iteration, algorithm_params, model_train_params, model_eval_params=None):  # type: ignore[no-untyped-def]
        if iteration == self.rounds:
            return None, model, Metrics()
        asked = CentralContext(
            iteration, False, self.clients, Population.TRAIN, algorithm_params, model_train_params, seed=iteration
        )
        return (asked,), model, Metrics()

    def simulate_one_user(self, model, user_dataset, central_context):  # type: ignore[no-untyped-def]
        x, y = user_dataset.raw_data
        weights = train(model.weights, x, y, np.random.default_rng())
        counted = {str(number): value * np.float32(len(y)) for number, value in enumerate(weights)}
        return MappedVectorStatistics(counted, weight=len(y)), Metrics()

    def process_aggregated_statistics(self, central_context, aggregate_metrics, model, statistics):  # type: ignore[no-untyped-def]
        statistics.average()
        return model.apply_model_update(statistics)


class Measure:
    """Called by pfl after each round."""

    def __init__(self, job) -> None:  # type: ignore[no-untyped-def]
        self.job, self.moments, self.accuracy = job, [(time.perf_counter(), time.process_time())], 0.0

    def on_train_begin(self, *, model):  # type: ignore[no-untyped-def]
        return Metrics()

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):  # type: ignore[no-untyped-def]
        self.accuracy = accuracy(model.weights, self.job.x_test, self.job.y_test)
        self.moments.append((time.perf_counter(), time.process_time()))
        return False, Metrics()

    def on_train_end(self, *, model):  # type: ignore[no-untyped-def]
        pass


def main(path: str, rounds: int) -> None:
    """Run the job and print its figures."""
    logging.disable(logging.WARNING)
    job = read_job(path)
    numbers = list(range(len(job.clients)))
    users = FederatedDataset(
        lambda number: Dataset(job.clients[number], user_id=str(number)), get_user_sampler("minimize_reuse", numbers)
    )
    measure = Measure(job)
    Averaging(rounds, len(numbers)).run(
        AlgorithmHyperParams(),
        SimulatedBackend(training_data=users, val_data=users),
        Mlp(initial()),
        ModelHyperParams(),
        callbacks=[measure],
    )
    wall, cpu = (np.diff([moment[unit] for moment in measure.moments]).tolist() for unit in (0, 1))
    print(json.dumps({"wall": wall, "cpu": cpu, "accuracy": measure.accuracy, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
