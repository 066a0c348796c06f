"""A plain loop in numpy, in one process."""

from __future__ import annotations

import sys

import numpy as np
from job import accuracy, average, initial, read_job, report, train


def main(path: str, rounds: int) -> None:
    """Run the job and print its figures."""
    job, rng, weights = read_job(path), np.random.default_rng(0), initial()

    def run_round() -> float:
        nonlocal weights
        updates = [train(weights, x, y, rng) for x, y in job.clients]
        counts = [len(y) for _, y in job.clients]
        weights = average(updates, counts)
        return accuracy(weights, job.x_test, job.y_test)

    report(run_round, rounds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
