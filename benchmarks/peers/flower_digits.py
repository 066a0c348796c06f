"""Flower's simulation: a virtual client in each actor of Ray, FedAvg, and the test records measured by the server."""

from __future__ import annotations

import json
import logging
import sys
import time

import numpy as np
from job import accuracy, initial, read_job, train, tree_usage

try:
    from flwr.client import ClientApp, NumPyClient
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.simulation import run_simulation
except ImportError as error:
    print(json.dumps({"skipped": f"Flower is not installed ({error})"}))
    sys.exit()


def main(path: str, rounds: int) -> None:
    """Run the job and print its figures. A round lasts from one measurement to the next."""
    from flwr.common import ndarrays_to_parameters

    logging.getLogger("flwr").setLevel(logging.ERROR)
    job = read_job(path)
    measured: list[tuple[float, float]] = []
    reached, memory = [], []

    class Client(NumPyClient):
        def __init__(self, number: int) -> None:
            self.x, self.y = job.clients[number]

        def fit(self, parameters, config):  # type: ignore[no-untyped-def]
            return train(parameters, self.x, self.y, np.random.default_rng()), len(self.y), {}

    def make_client(context):  # type: ignore[no-untyped-def]
        return Client(int(context.node_config["partition-id"])).to_client()

    def evaluate(number, parameters, config):  # type: ignore[no-untyped-def]
        cpu, mib = tree_usage()
        measured.append((time.perf_counter(), cpu))
        memory.append(mib)
        reached.append(accuracy(parameters, job.x_test, job.y_test))
        return 0.0, {}

    def make_server(context):  # type: ignore[no-untyped-def]
        strategy = FedAvg(
            fraction_evaluate=0.0,
            min_fit_clients=len(job.clients),
            min_available_clients=len(job.clients),
            initial_parameters=ndarrays_to_parameters(initial()),
            evaluate_fn=evaluate,
        )
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    run_simulation(
        ServerApp(server_fn=make_server),
        ClientApp(client_fn=make_client),
        num_supernodes=len(job.clients),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    wall, cpu = (np.diff([moment[unit] for moment in measured]).tolist() for unit in (0, 1))
    print(json.dumps({"wall": wall, "cpu": cpu, "accuracy": reached[-1], "peak_mib": max(memory)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
