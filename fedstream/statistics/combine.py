"""The statistics of several clients together: exact, and the same in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from fedstream.record.statistics import ClientStatistics, FeatureStatistics, FeatureSums, from_text, to_text
from fedstream.statistics.bins import merged, quantile

PROBABILITIES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
"""Probabilities of the quantiles."""


def added(sums: Sequence[FeatureSums]) -> FeatureSums:
    """Return the sums of one feature over several clients, or over several chunks of one client."""
    least = [part.minimum for part in sums if part.minimum is not None]
    greatest = [part.maximum for part in sums if part.maximum is not None]
    return FeatureSums(
        name=sums[0].name,
        count=sum(part.count for part in sums),
        missing=sum(part.missing for part in sums),
        total=to_text(sum((from_text(part.total) for part in sums), Fraction(0))),
        squares=to_text(sum((from_text(part.squares) for part in sums), Fraction(0))),
        minimum=min(least, default=None),
        maximum=max(greatest, default=None),
        bins=merged(part.bins for part in sums),
    )


def described(sums: FeatureSums) -> FeatureStatistics:
    """Return what the sums of a feature say: each number is rounded once."""
    if not sums.count:
        return FeatureStatistics(name=sums.name, count=0, missing=sums.missing)
    mean = from_text(sums.total) / sums.count
    variance = from_text(sums.squares) / sums.count - mean * mean
    low, high = sums.minimum, sums.maximum
    quantiles = {}
    if low is not None and high is not None:
        quantiles = {text: quantile(sums.bins, float(text), low, high) for text in PROBABILITIES}
    return FeatureStatistics(
        name=sums.name,
        count=sums.count,
        missing=sums.missing,
        mean=float(mean),
        variance=max(0.0, float(variance)),  # noise can make it negative
        minimum=low,
        maximum=high,
        quantiles=quantiles,
        bins=sums.bins,
    )


def combined(clients: Sequence[ClientStatistics]) -> list[FeatureStatistics]:
    """Return the features over all clients, which all have the same ones."""
    return [described(added(parts)) for parts in zip(*(client.features for client in clients), strict=True)]


def combined_classes(clients: Iterable[ClientStatistics]) -> dict[str, int]:
    """Return the number of records of each class over all clients."""
    counts = Counter[str]()
    for client in clients:
        counts.update(client.class_counts)
    return dict(sorted(counts.items()))
