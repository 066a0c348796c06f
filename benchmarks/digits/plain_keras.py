"""A plain loop: compiled Keras training of each client in turn, averaged in numpy, and nothing else."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.peers.job import LEARNING_RATE, average, read_job, report
from fedstream.model.builtin import build_builtin

BATCH = 10


def main(path: str, rounds: int) -> None:
    """Run the job and print its figures."""
    import tensorflow as tf

    job = read_job(path)
    model = build_builtin("builtin:digits-mlp")
    model.optimizer.learning_rate = LEARNING_RATE
    model.optimizer.build(model.trainable_variables)
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False, reduce_retracing=True)
    def train(samples, labels, order):  # type: ignore[no-untyped-def]
        def step(start):  # type: ignore[no-untyped-def]
            batch = order[start : start + BATCH]
            model.train_step((tf.gather(samples, batch), tf.gather(labels, batch)))
            return start + BATCH

        tf.while_loop(lambda start: start < tf.size(order), step, [tf.constant(0)])
        return [tf.identity(variable) for variable in variables]

    @tf.function(autograph=False)
    def measure(samples, labels):  # type: ignore[no-untyped-def]
        return tf.reduce_mean(tf.cast(tf.argmax(model(samples, training=False), axis=-1) == labels, tf.float32))

    clients = [(tf.constant(x, tf.float32), tf.constant(y, tf.int64)) for x, y in job.clients]
    test = tf.constant(job.x_test, tf.float32), tf.constant(job.y_test, tf.int64)
    weights, rng = [variable.numpy() for variable in variables], np.random.default_rng(0)

    def run_round() -> float:
        nonlocal weights
        updates = []
        for x, y in clients:
            for variable, value in zip(variables, weights, strict=True):
                variable.assign(value)
            updates.append([value.numpy() for value in train(x, y, tf.constant(rng.permutation(len(y))))])
        counts = [len(y) for _, y in job.clients]
        weights = average(updates, counts)
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        return float(measure(*test))

    report(run_round, rounds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
