"""The records of the recorded runs: the same in every process."""

import numpy as np

from fedstream.stream.send import send_dataset

CLIENTS = ["a", "b", "c"]
EVALUATION = "recorded.evaluation"


def topic_of(client):
    return f"recorded.{client}"


def records(seed, count):
    """Return samples (count, 4) whose class is told by where they lie, and labels (count,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count).astype(np.uint8)
    x = rng.normal(0, 1, (count, 4)).astype(np.float32)
    x[np.arange(count), y] += 3
    return x, y


def send_streams(kafka):
    """Send and announce the three clients' records and those of the evaluation topic."""
    for seed, client in enumerate(CLIENTS):
        send_dataset(kafka, topic_of(client), client, *records(seed, 32 + 8 * seed))
    send_dataset(kafka, EVALUATION, "evaluation", *records(9, 40))
