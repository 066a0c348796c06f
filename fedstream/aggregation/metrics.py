"""Metrics of many clients, combined into one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from fedstream.record.documents import Metrics


def combine(metrics: Sequence[Metrics]) -> Metrics:
    """Combine the metrics of several clients.

    The result has the mean, weighted by examples, of each metric that all clients report, and the sum of the confusion
    matrices if all have the same size. Means are exact and rounded once, so the order of the clients does not matter.

    Args:
        metrics: at least one.
    """
    total = sum(metric.num_examples for metric in metrics)
    names = sorted(set.intersection(*(set(metric.values) for metric in metrics)))
    confusions = [metric.confusion or [] for metric in metrics]
    return Metrics(
        num_examples=total,
        values={
            name: float(sum(Fraction(metric.values[name]) * metric.num_examples for metric in metrics) / total)
            for name in names
        },
        confusion=_add(confusions)
        if all(confusions) and len({tuple(map(len, matrix)) for matrix in confusions}) == 1
        else None,
    )


def _add(matrices: Sequence[list[list[int]]]) -> list[list[int]]:
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
