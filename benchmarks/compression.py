"""Measure what the compression of updates saves and costs on MNIST, in one process on the store in memory.

python -m benchmarks.compression mnist.npz [rounds]
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from fedstream.cli.output import print_table
from fedstream.local.datasets import deal, load_dataset
from fedstream.local.inprocess import run_inprocess
from fedstream.report.view import build_view
from fedstream.steps.context import Context
from fedstream.stream.send import send_dataset

CLIENTS, RECORDS = 10, 20_000
EXCHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "float16": {"compression": "float16"},
    "int8": {"compression": "int8"},
    "topk 0.1": {"compression": "topk", "fraction": 0.1},
    "topk 0.01": {"compression": "topk", "fraction": 0.01},
}


def main() -> None:
    """Print the table."""
    logging.getLogger("fedstream").setLevel(logging.ERROR)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    context, data = Context.in_memory(), load_dataset(sys.argv[1])
    broker, clients = context.brokers.at(""), [f"c{number}" for number in range(CLIENTS)]
    x, y = data.x_train[:RECORDS], data.y_train[:RECORDS]
    for client, own in zip(clients, deal(y, CLIENTS, "iid"), strict=True):
        send_dataset(broker, client, client, x[own], y[own])
    send_dataset(broker, "test", "test", data.x_test, data.y_test)
    rows = []
    for number, (name, exchange) in enumerate(EXCHANGES.items()):
        spec = {"run": f"r{number}", "model": "builtin:mnist-2nn", "clients": clients, "evaluation_topic": "test"}
        run_inprocess(
            spec | {"rounds": rounds, "batch_size": 20, "publish": "never", "exchange": exchange}, context=context
        )
        view = build_view(context.store, spec["run"])
        sent = [size for item in view.rounds for size in item.sent.values()]
        accuracy = [item.metrics.values["accuracy"] for item in view.rounds if item.metrics]
        rows.append((name, sum(sent) / len(sent) / 1e6, *(accuracy[at - 1] for at in _shown(rounds))))
    head = ["compression", "MB an update", *(f"accuracy after {at}" for at in _shown(rounds))]
    print_table(f"MNIST 2NN, {CLIENTS} clients, {RECORDS:,} records, batches of 20", head, rows)


def _shown(rounds: int) -> list[int]:
    return sorted({1, max(1, rounds // 2), rounds})


if __name__ == "__main__":
    main()
