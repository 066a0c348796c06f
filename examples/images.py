"""What the examples that stream pictures have in common: their arguments, the pictures and the brokers.

Without a file, the pictures are the 8 x 8 digits that come with scikit-learn. MNIST is a file mnist.npz with x_train,
y_train, x_test and y_test, as Keras downloads it.

KAFKA_BOOTSTRAP_SERVERS gives the brokers; `eval "$(fedstream services env)"` sets it.
"""

import argparse
import os

from fedstream.local.datasets import load_dataset

SERVERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")


def arguments(description: str | None) -> argparse.Namespace:
    """Return the pictures, the topic, and the seconds between two parts of a stream."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("images", nargs="?", default="digits", type=load_dataset, help=".npz file; default: the digits")
    parser.add_argument("topic", nargs="?", default="mnist_fed", help="topic of the records (%(default)s)")
    parser.add_argument("--pause", type=float, default=100, help="seconds between two parts of a stream (%(default)s)")
    return parser.parse_args()
